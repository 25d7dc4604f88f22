//! Checks for mesh namespaces that rely on the sidecar alone. Source: istio.io, security best practices, "Defense in
//! depth with `NetworkPolicy`".

use sailhand_base::prose::{agree, plural};

use crate::membership::namespace_mode;
use crate::rules::support::completeness::is_whole_cluster;
use crate::rules::support::text::some_of;
use crate::{Check, Code, Example, Findings, Kind, Level, Rule, View};

pub static RULE: Rule = Rule {
    name: "operations.NetworkPolicies",
    codes: &[&SH7210],
    inputs: &[Kind::NetworkPolicy, Kind::MeshConfig, Kind::Namespace, Kind::Deployment],
    check: Check::Once(check),
};

static SH7210: Code = Code {
    id: "SH7210",
    name: "NoNetworkPolicy",
    level: Level::Info,
    title: "Namespaces in the mesh have no NetworkPolicy",
    why: "The sidecar can be bypassed through excluded ports or from a compromised pod. A NetworkPolicy is enforced \
          outside the pod and still applies then.",
    remedy: "Add a NetworkPolicy to each namespace that allows the traffic the mesh needs and denies the rest.",
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
    let (namespaces, have) = (plural(open.len(), "namespace"), agree(open.len(), "has", "have"));
    let message = format!("{namespaces} in the mesh {have} no NetworkPolicy: {}", some_of(&open));
    findings.add(&SH7210, config, message).arguments(open);
}
