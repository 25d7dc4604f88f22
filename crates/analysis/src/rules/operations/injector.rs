//! Namespaces that ask for sidecars which no injector gives them, and injectors that are left out when they fail.
//! Source: istio.io, canary upgrades; common injection problems.

use crate::istio::selector::selects_namespace;
use crate::membership::namespace_mode;
use crate::{Check, Code, Example, Findings, Kind, Level, Node, Resource, Rule, View};

/// Namespaces.
pub static RULE: Rule = Rule {
    name: "operations.Injector",
    codes: &[&SH7314],
    reads: &[Kind::Namespace, Kind::MutatingWebhookConfiguration],
    check: Check::Each(&[Kind::Namespace], check_namespace),
};

/// Injectors.
pub static WEBHOOKS: Rule = Rule {
    name: "operations.InjectorFailure",
    codes: &[&SH7315],
    reads: &[Kind::MutatingWebhookConfiguration],
    check: Check::Each(&[Kind::MutatingWebhookConfiguration], check_webhook),
};

static SH7314: Code = Code {
    id: "SH7314",
    name: "NoInjectorForNamespace",
    level: Level::Error,
    title: "A namespace asks for sidecars of a revision that no injector serves",
    why: "Its new pods start without a proxy: outside the mesh, without mutual TLS and without policies, and nothing \
          fails. Typical after an upgrade that removed the old revision.",
    remedy: "Label the namespace with a revision that is installed (istio.io/rev, or istio-injection: enabled for the default \
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
    name: "InjectorMayBeSkipped",
    level: Level::Warning,
    title: "The injector is skipped when it does not answer",
    why: "With failurePolicy Ignore, pods that start while istiod is away come up without a proxy and stay so, outside the \
          mesh and its policies.",
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

fn injectors(configuration: &Resource) -> impl Iterator<Item = (usize, &Node)> {
    let webhooks = configuration.root["webhooks"].items().iter().enumerate();
    webhooks.filter(|(_, webhook)| webhook["name"].text().ends_with("sidecar-injector.istio.io"))
}

fn check_namespace(view: &View<'_>, namespace: &Resource, findings: &mut Findings) {
    let mode = namespace_mode(namespace);
    if !mode.injects() || namespace.label("istio.io/dataplane-mode").is_some() {
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
    let message = format!("namespace {} asks for sidecars of {asked}, and no injector serves it", namespace.name);
    findings.add(&SH7314, namespace, message).field(field).arguments([asked]);
}

fn check_webhook(_: &View<'_>, configuration: &Resource, findings: &mut Findings) {
    for (index, webhook) in injectors(configuration) {
        if webhook["failurePolicy"].text() == "Ignore" {
            let name = webhook["name"].text();
            let message = format!("pods start without a proxy while {name} does not answer");
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
    fn without_any_injector_nothing_is_known() {
        let alone = super::SH7314.example.before.split_once("---").unwrap().1;
        assert!(!reported(alone).contains("SH7314"));
    }
}
