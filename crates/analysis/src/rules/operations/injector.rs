//! Checks for namespaces whose revision has no injector, and for injectors that fail open. Source: istio.io, canary
//! upgrades; common injection problems.

use crate::istio::membership::DATAPLANE;
use crate::istio::selector::selects_namespace;
use crate::membership::namespace_mode;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Value, View};

/// Checks namespaces.
pub static RULE: Rule = Rule {
    name: "operations.Injector",
    codes: &[&SH7314],
    inputs: &[Kind::Namespace, Kind::MutatingWebhookConfiguration],
    check: Check::Each(&[Kind::Namespace], check_namespace),
};

/// Checks injection webhooks.
pub static WEBHOOKS: Rule = Rule {
    name: "operations.InjectorFailure",
    codes: &[&SH7315],
    inputs: &[Kind::MutatingWebhookConfiguration],
    check: Check::Each(&[Kind::MutatingWebhookConfiguration], check_webhook),
};

static SH7314: Code = Code {
    id: "SH7314",
    name: "NoInjectorForNamespace",
    level: Level::Error,
    title: "Namespace uses a revision that no injector serves",
    why: "New pods start without a sidecar and without an error: they are outside the mesh, without mutual TLS and \
          authorization policies. This often happens after an upgrade that removed the old revision.",
    remedy: "Label the namespace with an installed revision (istio.io/rev, or istio-injection=enabled for the default \
             one), and restart its workloads.",
    source: "https://istio.io/latest/docs/setup/upgrade/canary/",
    example: Example {
        before: "\
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: istio-sidecar-injector-1-28}
webhooks:
- name: rev.namespace.sidecar-injector.istio.io
  failurePolicy: Fail
  namespaceSelector: {matchExpressions: [{key: istio.io/rev, operator: In, values: [1-28]}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/rev: 1-27}}
",
        after: "\
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: istio-sidecar-injector-1-28}
webhooks:
- name: rev.namespace.sidecar-injector.istio.io
  failurePolicy: Fail
  namespaceSelector: {matchExpressions: [{key: istio.io/rev, operator: In, values: [1-28]}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/rev: 1-28}}
",
    },
    also: &[],
};

static SH7315: Code = Code {
    id: "SH7315",
    name: "InjectorFailsOpen",
    level: Level::Warning,
    title: "Sidecar injector webhook fails open (failurePolicy: Ignore)",
    why: "Pods that are created while istiod is unavailable start without a sidecar and stay outside the mesh and its \
          policies.",
    remedy: "Set failurePolicy: Fail, and run istiod with two or more replicas.",
    source: "https://istio.io/latest/docs/ops/common-problems/injection/",
    example: Example {
        before: "\
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: istio-sidecar-injector}
webhooks:
- name: namespace.sidecar-injector.istio.io
  failurePolicy: Ignore
  namespaceSelector: {matchLabels: {istio-injection: enabled}}
",
        after: "\
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: istio-sidecar-injector}
webhooks:
- name: namespace.sidecar-injector.istio.io
  failurePolicy: Fail
  namespaceSelector: {matchLabels: {istio-injection: enabled}}
",
    },
    also: &[],
};

fn injectors(configuration: &Resource) -> impl Iterator<Item = (usize, &Value)> {
    let webhooks = configuration.root["webhooks"].items().iter().enumerate();
    webhooks.filter(|(_, webhook)| webhook["name"].text().ends_with("sidecar-injector.istio.io"))
}

fn check_namespace(view: &View<'_>, namespace: &Resource, findings: &mut Findings) {
    let mode = namespace_mode(namespace);
    if !mode.injects() || namespace.label(DATAPLANE).is_some() {
        return;
    }
    let mut known = view
        .all(Kind::MutatingWebhookConfiguration)
        .iter()
        .filter(|configuration| configuration.cluster == namespace.cluster)
        .flat_map(|configuration| injectors(configuration))
        .peekable();
    if known.peek().is_none()
        || known.any(|(_, webhook)| {
            selects_namespace(&webhook["namespaceSelector"], &namespace.name, Some(namespace.labels()))
        })
    {
        return;
    }
    let (asked, field) = match (mode.injection, mode.revision) {
        (None, Some(revision)) => (format!("revision {revision}"), "metadata.labels[\"istio.io/rev\"]"),
        _ => ("the default revision".to_owned(), "metadata.labels[\"istio-injection\"]"),
    };
    let message = format!("namespace {} requests sidecars of {asked}, but no injector serves it", namespace.name);
    findings.add(&SH7314, namespace, message).field(field).arguments([asked]);
}

fn check_webhook(_: &View<'_>, configuration: &Resource, findings: &mut Findings) {
    for (index, webhook) in injectors(configuration) {
        if webhook["failurePolicy"].text() == "Ignore" {
            let name = webhook["name"].text();
            let message = format!("pods start without a sidecar while {name} is unavailable");
            findings
                .add(&SH7315, configuration, message)
                .field(format!("webhooks[{index}].failurePolicy"))
                .arguments([name]);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn namespace_is_ignored_without_injectors() {
        let alone = super::SH7314.example.before.split_once("---").unwrap().1;
        assert!(!reported(alone).contains("SH7314"));
    }
}
