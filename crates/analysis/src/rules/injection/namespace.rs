//! Checks the injection labels of namespaces, and pods without a sidecar in injected namespaces. Source: istio
//! `analyzers/injection/injection.go`.
//!
//! Differs from istioctl: the injector's settings are those of the default revision; pods that have ended or are in
//! ambient mode need no sidecar.

use crate::istio::membership::{AMBIENT, DATAPLANE, INJECTION, REVISION};
use crate::istio::pod::{has_ended, is_redirected};
use crate::membership::{has_sidecar, own_injection};
use crate::mesh::ISTIO_NAMESPACE;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Value, View};

pub static RULE: Rule = Rule {
    name: "injection.Analyzer",
    codes: &[&IST0102, &IST0103, &IST0123, &IST0148],
    inputs: &[Kind::Namespace, Kind::Pod, Kind::ConfigMap],
    check: Check::Each(&[Kind::Namespace, Kind::Pod], check),
};

const SOURCE: &str = "https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/";

static IST0102: Code = Code {
    id: "IST0102",
    name: "NamespaceNotInjected",
    level: Level::Info,
    title: "Namespace is not labeled for sidecar injection or ambient mode",
    why: "Its pods get no proxy: they are outside the mesh, without mutual TLS, authorization policies and telemetry.",
    remedy: "Label it istio-injection=enabled, istio.io/rev=<revision> or istio.io/dataplane-mode=ambient. If the \
             namespace is outside the mesh on purpose, label it istio-injection=disabled.",
    source: SOURCE,
    example: Example {
        before: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop}
",
        after: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
",
    },
    also: &[],
};

static IST0103: Code = Code {
    id: "IST0103",
    name: "PodMissingProxy",
    level: Level::Warning,
    title: "Pod has no sidecar although its namespace is injected",
    why: "The pod is outside the mesh: with STRICT mutual TLS it cannot call other workloads, and policies are not \
          enforced for it.",
    remedy: "Recreate the pod, for example with `kubectl rollout restart`, or label it sidecar.istio.io/inject: \
             'false'.",
    source: SOURCE,
    example: Example {
        before: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: shop}
spec: {containers: [{name: cart, image: cart}]}
status: {phase: Running}
",
        after: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: shop}
spec:
  containers: [{name: cart, image: cart}]
  initContainers: [{name: istio-proxy, image: 'registry.istio.io/release/proxyv2:1.29.0', restartPolicy: Always}]
status: {phase: Running}
",
    },
    also: &[],
};

static IST0123: Code = Code {
    id: "IST0123",
    name: "NamespaceMultipleInjectionLabels",
    level: Level::Warning,
    title: "Namespace has conflicting injection and ambient mode labels",
    why: "Only one label applies: istio-injection takes precedence over istio.io/rev, and both over \
          istio.io/dataplane-mode. The others have no effect.",
    remedy: "Keep only one of the labels.",
    source: SOURCE,
    example: Example {
        before: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled, istio.io/rev: canary}}
",
        after: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/rev: canary}}
",
    },
    also: &[],
};

static IST0148: Code = Code {
    id: "IST0148",
    name: "NamespaceInjectionEnabledByDefault",
    level: Level::Info,
    title: "Namespace is injected only because injection is enabled by default",
    why: "The namespace has no label that shows injection, and a change of the injector's default removes it from the \
          mesh.",
    remedy: "Label it istio-injection=enabled, or istio-injection=disabled if it does not belong to the mesh.",
    source: SOURCE,
    example: Example {
        before: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio-sidecar-injector, namespace: istio-system}
data: {values: '{\"sidecarInjectorWebhook\":{\"enableNamespacesByDefault\":true}}'}
",
        after: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio-sidecar-injector, namespace: istio-system}
data: {values: '{\"sidecarInjectorWebhook\":{\"enableNamespacesByDefault\":true}}'}
",
    },
    also: &[],
};

fn check(view: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let namespace = if resource.kind == Kind::Pod { &resource.namespace } else { &resource.name };
    if namespace == ISTIO_NAMESPACE {
        // Pods of the control plane have no sidecars, whatever the labels.
    } else if resource.kind == Kind::Pod {
        check_pod(view, resource, findings);
    } else {
        check_namespace(view, resource, findings);
    }
}

fn check_namespace(view: &View<'_>, namespace: &Resource, findings: &mut Findings) {
    let injection = namespace.label(INJECTION);
    // In a namespace with injection disabled the other labels have no effect.
    let others = [REVISION, DATAPLANE].into_iter().filter(|_| injection.is_none_or(|injection| injection == "enabled"));
    let said: Vec<(&str, &str)> =
        [INJECTION].into_iter().chain(others).filter_map(|key| Some((key, namespace.label(key)?))).collect();
    if said.len() > 1 {
        let listed = said.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ");
        findings
            .add(&IST0123, namespace, format!("conflicting labels: {listed}"))
            .field(format!("metadata.labels[\"{}\"]", said[1].0))
            .arguments([listed]);
    }
    let is_said = injection.is_some_and(|injection| !injection.is_empty()) || namespace.label(REVISION).is_some();
    if is_said || namespace.label(DATAPLANE) == Some(AMBIENT) {
        return;
    }
    if injects_by_default(view) {
        findings
            .add(&IST0148, namespace, "injected only because injection is enabled for all namespaces by default")
            .field("metadata.name");
    } else {
        let name = namespace.name.as_str();
        findings
            .add(
                &IST0102,
                namespace,
                format!("namespace {name} has neither an injection label nor an ambient mode label"),
            )
            .field("metadata.name")
            .arguments([name, name]);
    }
}

fn injects_by_default(view: &View<'_>) -> bool {
    view.get(Kind::ConfigMap, ISTIO_NAMESPACE, "istio-sidecar-injector").is_some_and(|map| {
        let values: Value = serde_json::from_str(map.root["data"]["values"].text()).unwrap_or_default();
        values.at("sidecarInjectorWebhook.enableNamespacesByDefault").is_true()
    })
}

fn check_pod(view: &View<'_>, pod: &Resource, findings: &mut Findings) {
    let is_injected = view.namespace_of(pod).is_some_and(|namespace| namespace.label(INJECTION) == Some("enabled"));
    let is_excepted = own_injection(pod).is_some_and(|inject| inject.eq_ignore_ascii_case("false"))
        || pod.spec()["hostNetwork"].is_true()
        || has_ended(&pod.root)
        || is_redirected(&pod.root);
    if !is_injected || is_excepted || has_sidecar(pod) {
        return;
    }
    let (message, level) = if is_manifest(pod) {
        (
            "the manifest has no sidecar; if the pod was created from it, it was before injection was enabled",
            Level::Info,
        )
    } else {
        (
            "the pod has no sidecar although its namespace is injected: it was created before injection was enabled, \
             or the injector skipped it",
            IST0103.level,
        )
    };
    findings.add(&IST0103, pod, message).field("metadata.name").level(level).arguments([pod.full_name()]);
}

/// Whether the pod was never created: the API server adds a status, and a UID. The injector adds the sidecar then.
fn is_manifest(pod: &Resource) -> bool {
    pod.status().is_null() && !pod.root["metadata"]["uid"].is_set() && !pod.root["metadata"]["ownerReferences"].is_set()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::found;

    #[test]
    fn pod_in_a_manifest_gets_its_sidecar_when_it_is_created() {
        let level = |text: &str| found(text).iter().find(|it| it.code.id == "IST0103").map(|it| it.level);
        assert_eq!(level(IST0103.example.before), Some(Level::Warning));
        let manifest = IST0103.example.before.replace("status: {phase: Running}", "");
        assert_eq!(level(&manifest), Some(Level::Info));
    }
}
