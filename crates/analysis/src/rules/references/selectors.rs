//! Checks for selectors that match no workload, for the kinds that istioctl does not check. Source: Kiali's check
//! KIA0004; istio/istio#51273 for workloads scaled to zero.

use crate::istio::managed::GATEWAY_NAME;
use crate::rules::support::completeness::{are_unknown_pods, knows_workloads};
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Selector, Value, View, WORKLOADS, Within};

const KINDS: &[Kind] = &[
    Kind::PeerAuthentication,
    Kind::RequestAuthentication,
    Kind::WasmPlugin,
    Kind::TrafficExtension,
    Kind::ProxyConfig,
    Kind::EnvoyFilter,
];

pub static RULE: Rule = Rule {
    name: "references.Selectors",
    codes: &[&SH7125],
    inputs: &[
        Kind::PeerAuthentication,
        Kind::RequestAuthentication,
        Kind::WasmPlugin,
        Kind::TrafficExtension,
        Kind::ProxyConfig,
        Kind::EnvoyFilter,
        Kind::WorkloadEntry,
        Kind::WorkloadGroup,
        Kind::MeshConfig,
        Kind::Namespace,
        Kind::Service,
        WORKLOADS[0],
        WORKLOADS[1],
        WORKLOADS[2],
        WORKLOADS[3],
        WORKLOADS[4],
        WORKLOADS[5],
    ],
    check: Check::Each(KINDS, check),
};

static SH7125: Code = Code {
    id: "SH7125",
    name: "SelectorMatchesNothing",
    level: Level::Warning,
    title: "Selector matches no workload",
    why: "The object has no effect: the policy or setting applies to nothing.",
    remedy: "Correct the labels to those of the pod template, or remove the object.",
    source: "https://kiali.io/docs/features/validations/#kia0004---no-matching-workload-found-for-the-selector-in-this-namespace",
    example: Example {
        before: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec: {template: {metadata: {labels: {app: cart}}}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: carts}}
  mtls: {mode: STRICT}
",
        after: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec: {template: {metadata: {labels: {app: cart}}}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  mtls: {mode: STRICT}
",
    },
    also: &["KIA0004"],
};

fn check(view: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let spec = resource.spec();
    let (labels, path) = match resource.kind {
        Kind::EnvoyFilter => (spec.at("workloadSelector.labels"), "spec.workloadSelector.labels"),
        _ => (spec.at("selector.matchLabels"), "spec.selector.matchLabels"),
    };
    if labels.is_empty() || labels.entries().iter().any(|(_, value)| value.text().contains('*')) {
        return;
    }
    // In the root namespace a selector applies to all namespaces, except that of a PeerAuthentication.
    let is_everywhere = resource.namespace == view.root_namespace() && resource.kind != Kind::PeerAuthentication;
    let within = if is_everywhere { Within::Anywhere } else { Within::Namespace(&resource.namespace) };
    let selector = Selector::new(labels);
    if view.has_workload(within, &selector) || !knows_workloads(view, within, &selector) {
        return;
    }
    if is_outside(view, &resource.namespace, &selector) || are_unknown_pods(view, &resource.namespace, labels) {
        return;
    }
    // A gateway's pods are created from its Gateway resource.
    if labels[GATEWAY_NAME].is_set() {
        return;
    }
    let place = if is_everywhere { "anywhere".to_owned() } else { format!("in namespace {}", resource.namespace) };
    let message = format!("selector {selector} matches no workload {place}");
    findings.add(&SH7125, resource, message).field(path).arguments([selector.to_string()]);
}

/// A WorkloadEntry outside the cluster has labels too.
fn is_outside(view: &View<'_>, namespace: &str, selector: &Selector<'_>) -> bool {
    let entry = |entry: &Value| selector.matches(entry);
    view.in_namespace(Kind::WorkloadEntry, namespace).iter().any(|it| entry(&it.spec()["labels"]) || entry(it.labels()))
        || view.in_namespace(Kind::WorkloadGroup, namespace).iter().any(|it| entry(it.spec().at("metadata.labels")))
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn filter_for_missing_gateway_is_ignored() {
        let filter = super::SH7125.example.before.replace("kind: PeerAuthentication", "kind: RequestAuthentication");
        let filter = filter.replace(
            "{name: cart, namespace: shop}\nspec:\n  selector",
            "{name: cart, namespace: istio-system}\nspec:\n  selector",
        );
        assert!(!reported(&filter).contains("SH7125"));
        let namespaces = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: istio-system}\n\
                          ---\napiVersion: v1\nkind: Namespace\nmetadata: {name: kube-system}\n";
        assert!(reported(&format!("{filter}{namespaces}")).contains("SH7125"));
    }

    #[test]
    fn selector_is_ignored_without_workloads() {
        let alone = super::SH7125.example.before.split_once("---").unwrap().1;
        assert!(!reported(alone).contains("SH7125"));
    }
}
