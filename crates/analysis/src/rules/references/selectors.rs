//! Selectors that nothing matches, of the kinds that Istio's own analysis does not look at. Source: Kiali's check
//! KIA0004; istio/istio#51273 for what is scaled to nothing.

use crate::rules::scope::{are_unknown_pods, knows_workloads};
use crate::{Check, Code, Example, Findings, Kind, Level, Node, Resource, Rule, Selector, View, WORKLOADS, Within};

const KINDS: &[Kind] = &[
    Kind::PeerAuthentication,
    Kind::RequestAuthentication,
    Kind::WasmPlugin,
    Kind::TrafficExtension,
    Kind::ProxyConfig,
    Kind::EnvoyFilter,
];

/// The rule.
pub static RULE: Rule = Rule {
    name: "references.Selectors",
    codes: &[&SH7125],
    reads: &[
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
    title: "An object selects workloads, and there is none with these labels",
    why: "It has no effect: what looks protected, or configured, is not.",
    remedy: "Correct the labels to those of the pods' template, or remove the object.",
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
    // Of the root namespace it is for all namespaces; a PeerAuthentication with a selector there is not.
    let is_everywhere = resource.namespace == view.root_namespace() && resource.kind != Kind::PeerAuthentication;
    let within = if is_everywhere { Within::Anywhere } else { Within::Namespace(&resource.namespace) };
    let selector = Selector::new(labels);
    if view.has_workload(within, &selector) || !knows_workloads(view, within, &selector) {
        return;
    }
    if is_outside(view, &resource.namespace, &selector) || are_unknown_pods(view, &resource.namespace, labels) {
        return;
    }
    // A gateway's pods are made when its Gateway is seen.
    if labels["gateway.networking.k8s.io/gateway-name"].is_set() {
        return;
    }
    let place = if is_everywhere { "anywhere".to_owned() } else { format!("in namespace {}", resource.namespace) };
    let message = format!("no workload {place} has the labels {selector}");
    findings.add(&SH7125, resource, message).field(path).arguments([selector.to_string()]);
}

/// Machines outside the cluster have labels too.
fn is_outside(view: &View<'_>, namespace: &str, selector: &Selector<'_>) -> bool {
    let entry = |entry: &Node| selector.matches(entry);
    view.in_namespace(Kind::WorkloadEntry, namespace).iter().any(|it| entry(&it.spec()["labels"]) || entry(it.labels()))
        || view.in_namespace(Kind::WorkloadGroup, namespace).iter().any(|it| entry(it.spec().at("metadata.labels")))
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn a_filter_for_a_gateway_that_is_not_among_the_files_is_not_judged() {
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
    fn without_any_workload_nothing_is_known() {
        let alone = super::SH7125.example.before.split_once("---").unwrap().1;
        assert!(!reported(alone).contains("SH7125"));
    }
}
