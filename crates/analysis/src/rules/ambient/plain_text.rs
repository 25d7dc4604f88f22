//! Checks for `PeerAuthentication` that disables mutual TLS in an ambient namespace. Source: istio.io, ambient, "Use
//! Layer 4 security policy": `DISABLE` is ignored.

use super::waypoint::is_ambient;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "ambient.PlainText",
    codes: &[&SH7159],
    inputs: &[Kind::PeerAuthentication, Kind::Namespace],
    check: Check::Each(&[Kind::PeerAuthentication], check),
};

static SH7159: Code = Code {
    id: "SH7159",
    name: "DisableIgnoredInAmbient",
    level: Level::Warning,
    title: "PeerAuthentication mode DISABLE has no effect in an ambient namespace",
    why: "ztunnel ignores mode DISABLE: traffic between ambient workloads stays encrypted, and the policy does not \
          describe the actual behavior.",
    remedy: "Remove the mode, or use PERMISSIVE to also accept plaintext traffic from outside the mesh.",
    source: "https://istio.io/latest/docs/ambient/usage/l4-policy/#peer-authentication",
    example: Example {
        before: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: DISABLE}}
",
        after: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: PERMISSIVE}}
",
    },
    also: &[],
};

fn check(view: &View<'_>, policy: &Resource, findings: &mut Findings) {
    if policy.spec().at("mtls.mode").text() == "DISABLE" && is_ambient(view, &policy.namespace) {
        let message =
            format!("namespace {} is ambient, so mode DISABLE of {} is ignored", policy.namespace, policy.name);
        findings.add(&SH7159, policy, message).field("spec.mtls.mode");
    }
}
