//! Checks for objects in an ambient namespace that neither ztunnel nor a waypoint applies. Source: istio.io, ambient,
//! "Use Layer 7 features"; Kiali's checks KIA1110-1112, KIA1115-1117.

use super::waypoint::{is_ambient, namespace_has_waypoint, runs_waypoint};
use crate::istio::pod::is_gateway;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Selector, View, WORKLOADS, Within};

const KINDS: &[Kind] = &[Kind::RequestAuthentication, Kind::WasmPlugin, Kind::TrafficExtension, Kind::Telemetry];

pub static RULE: Rule = Rule {
    name: "ambient.Unread",
    codes: &[&SH7161],
    inputs: &[
        Kind::RequestAuthentication,
        Kind::WasmPlugin,
        Kind::TrafficExtension,
        Kind::Telemetry,
        Kind::KubernetesGateway,
        Kind::Namespace,
        WORKLOADS[0],
        WORKLOADS[1],
        WORKLOADS[2],
        WORKLOADS[3],
        WORKLOADS[4],
        WORKLOADS[5],
    ],
    check: Check::Each(KINDS, check),
};

static SH7161: Code = Code {
    id: "SH7161",
    name: "ConfigurationWithoutWaypoint",
    level: Level::Warning,
    title: "L7 configuration in an ambient namespace is attached to no waypoint",
    why: "ztunnel does not apply token validation, Wasm extensions or HTTP telemetry. A waypoint applies such an \
          object only if it references the waypoint or its service. For example, a RequestAuthentication validates no \
          token.",
    remedy: "Add targetRefs with a Service or the waypoint, and enroll the namespace to use a waypoint.",
    source: "https://istio.io/latest/docs/ambient/usage/l7-features/",
    example: Example {
        before: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient, istio.io/use-waypoint: waypoint}}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  jwtRules: [{issuer: https://id.example.com}]
",
        after: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient, istio.io/use-waypoint: waypoint}}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: shop}
spec:
  targetRefs: [{group: '', kind: Service, name: cart}]
  jwtRules: [{issuer: https://id.example.com}]
",
    },
    also: &["KIA1110", "KIA1111", "KIA1112", "KIA1115", "KIA1116", "KIA1117"],
};

fn check(view: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let spec = resource.spec();
    if !is_ambient(view, &resource.namespace) || spec["targetRef"].is_set() || !spec["targetRefs"].is_empty() {
        return;
    }
    let labels = spec.at("selector.matchLabels");
    let has_waypoint = namespace_has_waypoint(view, &resource.namespace) || runs_waypoint(view, &resource.namespace);
    // A waypoint applies namespace-wide telemetry and extensions, but not those with a selector.
    if labels.is_empty() && has_waypoint && resource.kind != Kind::RequestAuthentication {
        return;
    }
    let selector = Selector::new(labels);
    let mut pods = view.workloads(Within::Namespace(&resource.namespace), &selector).peekable();
    if pods.peek().is_some() && !pods.any(|pod| view.is_ambient(pod) && !is_proxy(pod)) {
        return;
    }
    let message = format!("{} has no targetRefs, and ztunnel does not apply it", resource.name);
    findings.add(&SH7161, resource, message).field("spec");
}

/// Whether the object selects a gateway or waypoint, which does apply it.
fn is_proxy(pod: &Resource) -> bool {
    is_gateway(pod.pod_template())
}
