//! Settings of a subset that no request ever meets. Source: istio.io, traffic management best practices, "Set default
//! routes for services": the policy of a subset is used only if a route leads to it.

use crate::hosts::fqdn;
use crate::{Check, Code, Example, Findings, KeyIndex, Kind, Level, Resource, Rule, View};

/// The rule.
pub static RULE: Rule = Rule {
    name: "routing.UnusedSubset",
    codes: &[&SH7302],
    reads: &[Kind::DestinationRule, Kind::VirtualService],
    check: Check::Each(&[Kind::DestinationRule], check),
};

static SH7302: Code = Code {
    id: "SH7302",
    name: "SubsetPolicyUnused",
    level: Level::Warning,
    title: "A subset has a trafficPolicy and no route leads to the subset",
    why: "Policies of subsets are used only for requests that a VirtualService sends there. Limits, timeouts or TLS \
          settings that stand here are not in force.",
    remedy: "Route to the subset with a VirtualService, or put the policy at the top of the DestinationRule.",
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
        let mut add = |destination: &crate::Node| {
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
    // A wildcard's subsets are reached by names that cannot be listed.
    if host.starts_with('*') {
        return;
    }
    let full = fqdn(host, &rule.namespace);
    for (index, subset) in rule.spec()["subsets"].items().iter().enumerate() {
        let name = subset["name"].text();
        // East-west gateways reach a subset by its SNI name; nothing but a route does so inside.
        if subset["trafficPolicy"].is_empty() || view.has_key(&BY_SUBSET, &[&full, name]) {
            continue;
        }
        let message = format!("no VirtualService routes to subset {name} of {host}: its trafficPolicy is not in force");
        findings
            .add(&SH7302, rule, message)
            .field(format!("spec.subsets[{index}].trafficPolicy"))
            .arguments([host, name]);
    }
}
