//! Network policies that lock ztunnel out. Source: istio.io, ambient, "Ambient and Kubernetes NetworkPolicy": HBONE
//! comes in on port 15008.

use super::waypoint::is_ambient;
use crate::{Check, Code, Example, Findings, Kind, Level, Node, Resource, Rule, View};

/// The rule.
pub static RULE: Rule = Rule {
    name: "ambient.NetworkPolicies",
    codes: &[&SH7160],
    reads: &[Kind::NetworkPolicy, Kind::Namespace],
    check: Check::Each(&[Kind::NetworkPolicy], check),
};

static SH7160: Code = Code {
    id: "SH7160",
    name: "NetworkPolicyBlocksHbone",
    level: Level::Warning,
    title: "A NetworkPolicy of an ambient namespace lets in some ports, and not 15008",
    why: "Traffic of the ambient mesh arrives on port 15008, whatever port the application has: from inside the mesh \
          nobody gets through.",
    remedy: "Add port 15008 to the ports of the rule.",
    source: "https://istio.io/latest/docs/ambient/usage/networkpolicy/",
    example: Example {
        before: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: cart, namespace: shop}
spec:
  podSelector: {matchLabels: {app: cart}}
  ingress: [{ports: [{port: 8080, protocol: TCP}]}]
",
        after: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: cart, namespace: shop}
spec:
  podSelector: {matchLabels: {app: cart}}
  ingress: [{ports: [{port: 8080, protocol: TCP}, {port: 15008, protocol: TCP}]}]
",
    },
    also: &[],
};

const HBONE: i64 = 15008;

fn check(view: &View<'_>, policy: &Resource, findings: &mut Findings) {
    let rules = policy.spec()["ingress"].items();
    // Without a rule everything is meant to be locked out; a rule without ports is for all of them.
    if rules.is_empty() || rules.iter().any(lets_hbone_in) || !is_ambient(view, &policy.namespace) {
        return;
    }
    let message = format!("{} lets in some ports, and not 15008, by which the ambient mesh comes", policy.name);
    findings.add(&SH7160, policy, message).field("spec.ingress[0].ports");
}

fn lets_hbone_in(rule: &Node) -> bool {
    let ports = rule["ports"].items();
    ports.is_empty()
        || ports.iter().any(|port| match (port["port"].as_int(), port["endPort"].as_int()) {
            (Some(first), Some(last)) => (first..=last).contains(&HBONE),
            (Some(port), None) => port == HBONE,
            // A protocol without a port is all of its ports.
            (None, _) => port["port"].is_null() && matches!(port["protocol"].text(), "" | "TCP"),
        })
}
