//! Checks for subset policies that no route uses. Source: istio.io, traffic management best practices, "Set default
//! routes for services": the policy of a subset applies only if a route sends traffic to it.

use crate::hosts::fqdn;
use crate::{Check, Code, Example, Findings, KeyIndex, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "routing.UnusedSubset",
    codes: &[&SH7302],
    inputs: &[Kind::DestinationRule, Kind::VirtualService],
    check: Check::Each(&[Kind::DestinationRule], check),
};

static SH7302: Code = Code {
    id: "SH7302",
    name: "SubsetPolicyUnused",
    level: Level::Warning,
    title: "Subset has a trafficPolicy, but no route uses the subset",
    why: "The policy of a subset applies only to requests that a VirtualService routes to it. Its connection limits, \
          timeouts and TLS settings have no effect.",
    remedy: "Route to the subset with a VirtualService, or move the policy to the top level of the DestinationRule.",
    source: "https://istio.io/latest/docs/ops/best-practices/traffic-management/#set-default-routes-for-services",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: shop}
spec:
  host: cart
  subsets:
  - name: v1
    labels: {version: v1}
    trafficPolicy: {connectionPool: {tcp: {maxConnections: 100}}}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: shop}
spec:
  host: cart
  subsets:
  - name: v1
    labels: {version: v1}
    trafficPolicy: {connectionPool: {tcp: {maxConnections: 100}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart]
  http:
  - route: [{destination: {host: cart, subset: v1}}]
",
    },
    also: &[],
};

/// `VirtualService`s by host and subset of a destination.
static BY_SUBSET: KeyIndex = KeyIndex {
    name: "virtual services by subset",
    kinds: &[Kind::VirtualService],
    keys: |service, keys| {
        let mut add = |destination: &crate::Value| {
            let subset = destination["subset"].text();
            if !subset.is_empty() {
                keys.add(&[&fqdn(destination["host"].text(), &service.namespace), subset]);
            }
        };
        for kind in ["http", "tcp", "tls"] {
            for route in service.spec()[kind].items() {
                route["route"].items().iter().for_each(|entry| add(&entry["destination"]));
                add(&route["mirror"]);
                route["mirrors"].items().iter().for_each(|entry| add(&entry["destination"]));
            }
        }
    },
};

fn check(view: &View<'_>, rule: &Resource, findings: &mut Findings) {
    let host = rule.spec()["host"].text();
    // The hosts that a wildcard matches cannot be listed.
    if host.starts_with('*') {
        return;
    }
    let full = fqdn(host, &rule.namespace);
    for (index, subset) in rule.spec()["subsets"].items().iter().enumerate() {
        let name = subset["name"].text();
        // An east-west gateway selects a subset by SNI; inside the mesh only a route does.
        if subset["trafficPolicy"].is_empty() || view.has_key(&BY_SUBSET, &[&full, name]) {
            continue;
        }
        let message = format!(
            "no VirtualService routes to subset {name} of {host}, so its trafficPolicy has no \
                               effect"
        );
        findings
            .add(&SH7302, rule, message)
            .field(format!("spec.subsets[{index}].trafficPolicy"))
            .arguments([host, name]);
    }
}
