//! Checks for network policies that block HBONE. Source: istio.io, ambient, "Ambient and Kubernetes NetworkPolicy":
//! HBONE uses port 15008.

use super::waypoint::is_ambient;
use crate::istio::port::HBONE;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Value, View};

pub static RULE: Rule = Rule {
    name: "ambient.NetworkPolicies",
    codes: &[&SH7160],
    inputs: &[Kind::NetworkPolicy, Kind::Namespace],
    check: Check::Each(&[Kind::NetworkPolicy], check),
};

static SH7160: Code = Code {
    id: "SH7160",
    name: "NetworkPolicyBlocksHbone",
    level: Level::Warning,
    title: "NetworkPolicy in an ambient namespace blocks HBONE port 15008",
    why: "Ambient traffic arrives on port 15008, whatever port the application uses. The policy therefore blocks \
          every connection from inside the mesh.",
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

fn check(view: &View<'_>, policy: &Resource, findings: &mut Findings) {
    let rules = policy.spec()["ingress"].items();
    // A policy without rules is meant to block all traffic; a rule without ports allows all ports.
    if rules.is_empty() || rules.iter().any(lets_hbone_in) || !is_ambient(view, &policy.namespace) {
        return;
    }
    let message = format!("{} allows some ports but not 15008, which ambient traffic uses", policy.name);
    findings.add(&SH7160, policy, message).field("spec.ingress[0].ports");
}

fn lets_hbone_in(rule: &Value) -> bool {
    let hbone = i64::from(HBONE);
    let ports = rule["ports"].items();
    ports.is_empty()
        || ports.iter().any(|port| match (port["port"].as_int(), port["endPort"].as_int()) {
            (Some(first), Some(last)) => (first..=last).contains(&hbone),
            (Some(port), None) => port == hbone,
            // A protocol without a port allows all of its ports.
            (None, _) => port["port"].is_null() && matches!(port["protocol"].text(), "" | "TCP"),
        })
}
