//! Checks for several `DestinationRule`s for one host in a namespace. Source: istio.io, traffic management best
//! practices, "Split large virtual services and destination rules"; Kiali's check KIA0201.

use crate::hosts::{fqdn, scopes};
use crate::{Check, Code, Example, Findings, KeyIndex, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "routing.OverlappingRules",
    codes: &[&SH7106],
    inputs: &[Kind::DestinationRule],
    check: Check::Each(&[Kind::DestinationRule], check),
};

static SH7106: Code = Code {
    id: "SH7106",
    name: "DestinationRulesOverlap",
    level: Level::Warning,
    title: "DestinationRules in a namespace conflict for the same host",
    why: "Istio merges them. Of several subsets with the same name, and of several top-level traffic policies, the \
          first applies and the others are ignored without an error. The creation time decides which is first.",
    remedy: "Merge them into one DestinationRule, or give the subsets different names and keep a single \
             trafficPolicy.",
    source: "https://istio.io/latest/docs/ops/best-practices/traffic-management/#split-virtual-services",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: shop}
spec: {host: cart, subsets: [{name: v1, labels: {version: v1}}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart-again, namespace: shop}
spec: {host: cart.shop.svc.cluster.local, subsets: [{name: v1, labels: {version: '1'}}]}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: shop}
spec: {host: cart, subsets: [{name: v1, labels: {version: v1}}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart-again, namespace: shop}
spec: {host: cart.shop.svc.cluster.local, subsets: [{name: v2, labels: {version: v2}}]}
",
    },
    also: &["KIA0201"],
};

static BY_HOST: KeyIndex = KeyIndex {
    name: "destination rules by host",
    kinds: &[Kind::DestinationRule],
    keys: |rule, keys| keys.add(&[&rule.namespace, &fqdn(rule.spec()["host"].text(), &rule.namespace)]),
};

/// Limit on the rules for one host that are compared with each other.
const COMPARED: usize = 32;

fn check(view: &View<'_>, rule: &Resource, findings: &mut Findings) {
    let host = rule.spec()["host"].text();
    let same_host = view.lookup(&BY_HOST, &[&rule.namespace, &fqdn(host, &rule.namespace)]);
    for other in same_host.iter().take(COMPARED) {
        if other.name == rule.name || other.cluster != rule.cluster || !are_merged(rule, other) {
            continue;
        }
        let policies = [rule, other].iter().all(|rule| !rule.spec()["trafficPolicy"].is_empty());
        if policies {
            let message = format!("{} also has a trafficPolicy for {host}; only one applies", other.name);
            findings
                .add(&SH7106, rule, message)
                .field("spec.trafficPolicy")
                .arguments([host, other.name.as_str()])
                .related(other);
        }
        for (index, subset) in rule.spec()["subsets"].items().iter().enumerate() {
            let name = subset["name"].text();
            if other.spec()["subsets"].items().iter().any(|subset| subset["name"].text() == name) {
                let message = format!("{} also has a subset {name} of {host}; only one applies", other.name);
                findings
                    .add(&SH7106, rule, message)
                    .field(format!("spec.subsets[{index}].name"))
                    .arguments([host, other.name.as_str(), name])
                    .related(other);
            }
        }
    }
}

/// Only rules that are visible to the same clients conflict.
fn are_merged(a: &Resource, b: &Resource) -> bool {
    let selector = |rule: &Resource| rule.spec()["workloadSelector"].clone();
    let (here, there) = (scopes(a), scopes(b));
    selector(a) == selector(b)
        && here.iter().any(|scope| *scope == "*" || there.contains(scope) || there.contains(&"*"))
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn rules_without_common_clients_do_not_conflict() {
        let scoped = super::SH7106
            .example
            .before
            .replacen("host: cart,", "host: cart, exportTo: [a],", 1)
            .replace("host: cart.shop.svc.cluster.local,", "host: cart.shop.svc.cluster.local, exportTo: [b],");
        assert!(!reported(&scoped).contains("SH7106"));
    }
}
