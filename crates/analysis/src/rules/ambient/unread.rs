//! Objects of an ambient namespace that ztunnel does not read and no waypoint is told to. Source: istio.io, ambient,
//! "Use Layer 7 features"; Kiali's checks KIA1110-1112, KIA1115-1117.

use super::waypoint::{is_ambient, namespace_has_waypoint, runs_waypoint};
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Selector, View, WORKLOADS, Within};

const KINDS: &[Kind] = &[Kind::RequestAuthentication, Kind::WasmPlugin, Kind::TrafficExtension, Kind::Telemetry];

/// The rule.
pub static RULE: Rule = Rule {
    name: "ambient.Unread",
    codes: &[&SH7161],
    reads: &[
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
    name: "UnreadInAmbient",
    level: Level::Warning,
    title: "An object of an ambient namespace is for proxies, and no waypoint reads it",
    why: "Tokens, extensions and telemetry of HTTP are the work of proxies. ztunnel reads none of these objects, and a \
          waypoint reads them only if they point to it: tokens, for one, are not checked at all.",
    remedy: "Add targetRefs with a Service or the waypoint, and let the namespace use a waypoint.",
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
    // For a whole namespace a waypoint reads telemetry and extensions; with a selector it does not.
    if labels.is_empty() && has_waypoint && resource.kind != Kind::RequestAuthentication {
        return;
    }
    let selector = Selector::new(labels);
    let mut pods = view.workloads(Within::Namespace(&resource.namespace), &selector).peekable();
    if pods.peek().is_some() && !pods.any(|pod| view.is_ambient(pod) && !is_proxy(pod)) {
        return;
    }
    let message = format!("{} has no targetRefs, and ztunnel does not read it", resource.name);
    findings.add(&SH7161, resource, message).field("spec");
}

/// Gateways and waypoints read what selects them.
fn is_proxy(pod: &Resource) -> bool {
    let labels = pod.pod_labels();
    labels["gateway.networking.k8s.io/gateway-name"].is_set() || labels["istio"].is_set()
}
