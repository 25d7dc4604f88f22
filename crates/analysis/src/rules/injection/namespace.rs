//! Namespaces whose pods get no proxy, or that say it in two ways, and pods that should have one. Source: istio
//! `analyzers/injection/injection.go`.
//!
//! Differs from istioctl: the injector's settings are those of the default revision; pods that have ended, or are in
//! the ambient mesh, need no proxy.

use crate::membership::{has_sidecar, own_injection};
use crate::mesh::ISTIO_NAMESPACE;
use crate::{Check, Code, Example, Findings, Kind, Level, Node, Resource, Rule, View};

/// The rule.
pub static RULE: Rule = Rule {
    name: "injection.Analyzer",
    codes: &[&IST0102, &IST0103, &IST0123, &IST0148],
    reads: &[Kind::Namespace, Kind::Pod, Kind::ConfigMap],
    check: Check::Each(&[Kind::Namespace, Kind::Pod], check),
};

const SOURCE: &str = "https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/";

static IST0102: Code = Code {
    id: "IST0102",
    name: "NamespaceNotInjected",
    level: Level::Info,
    title: "A namespace does not say whether it is in the mesh",
    why: "Its pods get no proxy: they are outside the mesh, without mutual TLS, policies and metrics.",
    remedy: "Label it istio-injection=enabled, istio.io/rev=… or istio.io/dataplane-mode=ambient; or \
             istio-injection=disabled if it is meant to stay outside.",
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
    title: "A pod has no proxy though its namespace is injected",
    why: "It is outside the mesh: with strict mutual TLS it reaches nothing and nobody reaches it by policy.",
    remedy: "Create the pod again, by `kubectl rollout restart`; or label it sidecar.istio.io/inject: 'false'.",
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
",
    },
    also: &[],
};

static IST0123: Code = Code {
    id: "IST0123",
    name: "NamespaceMultipleInjectionLabels",
    level: Level::Warning,
    title: "A namespace says in several ways how it is in the mesh",
    why: "Only one of the labels is followed: istio-injection before istio.io/rev before ambient. Whoever set the other \
          expects something else.",
    remedy: "Keep one of the labels.",
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
    title: "A namespace is injected because the mesh injects all that say nothing",
    why: "Nothing in the namespace shows it, and another setting of the injector takes it out of the mesh.",
    remedy: "Label it istio-injection=enabled, or disabled if it is not meant to be in the mesh.",
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

const INJECTION: &str = "istio-injection";
const REVISION: &str = "istio.io/rev";
const DATAPLANE: &str = "istio.io/dataplane-mode";

fn check(view: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let namespace = if resource.kind == Kind::Pod { &resource.namespace } else { &resource.name };
    if namespace == ISTIO_NAMESPACE {
        // The control plane's pods have no proxies, whatever the label says.
    } else if resource.kind == Kind::Pod {
        check_pod(view, resource, findings);
    } else {
        check_namespace(view, resource, findings);
    }
}

fn check_namespace(view: &View<'_>, namespace: &Resource, findings: &mut Findings) {
    let injection = namespace.label(INJECTION);
    // A namespace taken out says nothing with its other labels.
    let others = [REVISION, DATAPLANE].into_iter().filter(|_| injection.is_none_or(|injection| injection == "enabled"));
    let said: Vec<(&str, &str)> =
        [INJECTION].into_iter().chain(others).filter_map(|key| Some((key, namespace.label(key)?))).collect();
    if said.len() > 1 {
        let listed = said.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ");
        findings
            .add(&IST0123, namespace, format!("the labels {listed} say different things"))
            .field(format!("metadata.labels[\"{}\"]", said[1].0))
            .arguments([listed]);
    }
    let is_said = injection.is_some_and(|injection| !injection.is_empty()) || namespace.label(REVISION).is_some();
    if is_said || namespace.label(DATAPLANE) == Some("ambient") {
        return;
    }
    if injects_by_default(view) {
        findings.add(&IST0148, namespace, "injected only because the mesh injects by default").field("metadata.name");
    } else {
        let name = namespace.name.as_str();
        findings
            .add(
                &IST0102,
                namespace,
                format!("namespace {name} is not in the mesh, and does not say that it is not meant to be"),
            )
            .field("metadata.name")
            .arguments([name, name]);
    }
}

fn injects_by_default(view: &View<'_>) -> bool {
    view.get(Kind::ConfigMap, ISTIO_NAMESPACE, "istio-sidecar-injector").is_some_and(|map| {
        let values: Node = serde_json::from_str(map.root["data"]["values"].text()).unwrap_or_default();
        values.at("sidecarInjectorWebhook.enableNamespacesByDefault").is_true()
    })
}

fn check_pod(view: &View<'_>, pod: &Resource, findings: &mut Findings) {
    let is_injected = view.namespace_of(pod).is_some_and(|namespace| namespace.label(INJECTION) == Some("enabled"));
    let is_excepted = own_injection(pod).is_some_and(|inject| inject.eq_ignore_ascii_case("false"))
        || pod.spec()["hostNetwork"].is_true()
        || matches!(pod.status()["phase"].text(), "Succeeded" | "Failed")
        || pod.annotation("ambient.istio.io/redirection") == Some("enabled");
    if is_injected && !is_excepted && !has_sidecar(pod) {
        findings
            .add(
                &IST0103,
                pod,
                "the pod has no proxy, though its namespace is injected: it was created before, or passed by",
            )
            .field("metadata.name")
            .arguments([pod.full_name()]);
    }
}
