//! Namespaces in which the proxy is the only wall. Source: istio.io, security best practices, "Defense in depth with
//! `NetworkPolicy`".

use crate::membership::namespace_mode;
use crate::rules::scope::is_whole_cluster;
use crate::rules::wording::some_of;
use crate::{Check, Code, Example, Findings, Kind, Level, Rule, View};

/// The rule.
pub static RULE: Rule = Rule {
    name: "operations.NetworkPolicies",
    codes: &[&SH7210],
    reads: &[Kind::NetworkPolicy, Kind::MeshConfig, Kind::Namespace, Kind::Deployment],
    check: Check::Once(check),
};

static SH7210: Code = Code {
    id: "SH7210",
    name: "NoNetworkPolicy",
    level: Level::Info,
    title: "Namespaces of the mesh have no NetworkPolicy",
    why: "The proxy can be gone round, by excluded ports or by whoever takes over the pod. A NetworkPolicy is enforced \
          outside of the pod and still holds then.",
    remedy: "Add a NetworkPolicy to each namespace that lets in what the mesh needs, and refuses the rest.",
    source: "https://istio.io/latest/docs/ops/best-practices/security/#defense-in-depth-with-networkpolicy",
    example: Example {
        before: "\
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
",
        after: "\
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: default, namespace: shop}
spec: {podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}
",
    },
    also: &[],
};

fn check(view: &View<'_>, findings: &mut Findings) {
    if !is_whole_cluster(view) {
        return;
    }
    let open: Vec<&str> = view
        .all(Kind::Namespace)
        .iter()
        .filter(|namespace| {
            let mode = namespace_mode(namespace);
            (mode.injects() || mode.is_ambient()) && !view.has_in(Kind::NetworkPolicy, &namespace.name)
        })
        .map(|namespace| namespace.name.as_str())
        .collect();
    let Some(config) = view.all(Kind::MeshConfig).first().filter(|_| !open.is_empty()) else { return };
    let message = format!("{} namespaces of the mesh have no NetworkPolicy: {}", open.len(), some_of(&open));
    findings.add(&SH7210, config, message).arguments(open);
}
