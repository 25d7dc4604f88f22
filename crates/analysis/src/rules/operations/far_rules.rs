//! Checks for `DestinationRule`s in namespaces that Istio does not search. Source: istio.io, traffic management best
//! practices, "Cross-namespace configuration": the client's namespace, the service's, then the root namespace.

use crate::hosts::{fqdn, service_of};
use crate::rules::support::completeness::is_whole_cluster;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Selector, View, WORKLOADS, Within};

pub static RULE: Rule = Rule {
    name: "operations.FarRules",
    codes: &[&SH7304],
    inputs: &[
        Kind::DestinationRule,
        Kind::Namespace,
        Kind::MeshConfig,
        WORKLOADS[0],
        WORKLOADS[1],
        WORKLOADS[2],
        WORKLOADS[3],
        WORKLOADS[4],
        WORKLOADS[5],
    ],
    check: Check::Each(&[Kind::DestinationRule], check),
};

static SH7304: Code = Code {
    id: "SH7304",
    name: "UnusedDestinationRule",
    level: Level::Warning,
    title: "DestinationRule is in a namespace that Istio does not search for this host",
    why: "A client uses the DestinationRule of its own namespace, then of the service's namespace, then of the root \
          namespace. This namespace contains no client, so the rule never applies.",
    remedy: "Move it to the namespace of the service.",
    source: "https://istio.io/latest/docs/ops/best-practices/traffic-management/#cross-namespace-configuration",
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
metadata: {name: config}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: config}
spec: {host: cart.shop.svc.cluster.local, trafficPolicy: {loadBalancer: {simple: RANDOM}}}
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
metadata: {name: config}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: shop}
spec: {host: cart.shop.svc.cluster.local, trafficPolicy: {loadBalancer: {simple: RANDOM}}}
",
    },
    also: &[],
};

fn check(view: &View<'_>, rule: &Resource, findings: &mut Findings) {
    let full = fqdn(rule.spec()["host"].text(), &rule.namespace);
    let Some((namespace, _)) = service_of(&full) else { return };
    if namespace == rule.namespace || rule.namespace == view.root_namespace() || !is_whole_cluster(view) {
        return;
    }
    let everything = Selector::default();
    if view.has_workload(Within::Namespace(&rule.namespace), &everything) {
        return;
    }
    let message = format!("{} is for {full}, but namespace {} has no client", rule.name, rule.namespace);
    findings.add(&SH7304, rule, message).field("metadata.namespace").arguments([&*full, rule.namespace.as_str()]);
}
