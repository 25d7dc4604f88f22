//! Labels that name a waypoint which does not handle the traffic. Source: istio.io, ambient, "Configure waypoint
//! proxies" (`istio.io/use-waypoint`, `istio.io/waypoint-for`); istio `pilot/pkg/serviceregistry/ambient/waypoints.go`.

use super::waypoint::{choice_of, is_waypoint};
use crate::istio::waypoint::{USE, traffic_type};
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

const KINDS: &[Kind] = &[Kind::Namespace, Kind::Service, Kind::ServiceEntry, Kind::Pod];

/// The rule.
pub static RULE: Rule = Rule {
    name: "ambient.WaypointKind",
    codes: &[&SH7137],
    inputs: &[Kind::Namespace, Kind::Service, Kind::ServiceEntry, Kind::Pod, Kind::KubernetesGateway],
    check: Check::Each(KINDS, check),
};

static SH7137: Code = Code {
    id: "SH7137",
    name: "WaypointOfWrongKind",
    level: Level::Warning,
    title: "Waypoint label names a Gateway that is not a waypoint for this traffic",
    why: "The label has no effect: traffic bypasses the Gateway, so policies and routes that need a waypoint do not apply.",
    remedy: "Name a Gateway of class istio-waypoint, or set its label istio.io/waypoint-for to service, workload or all.",
    source: "https://istio.io/latest/docs/ambient/usage/waypoint/#waypoint-traffic-types",
    example: Example {
        before: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient, istio.io/use-waypoint: web}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web, namespace: shop}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}
",
        after: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient, istio.io/use-waypoint: web}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web, namespace: shop}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
",
    },
    also: &[],
};

fn check(view: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let Some((namespace, name)) = choice_of(resource).named() else { return };
    let Some(gateway) = view.get(Kind::KubernetesGateway, namespace, name) else { return };
    let handled = traffic_type(gateway.root.at("metadata.labels"));
    let problem = if !is_waypoint(gateway) {
        format!("is of class {}, which is not a waypoint class", gateway.spec()["gatewayClassName"].text())
    } else if handled == "none" {
        "handles no traffic (istio.io/waypoint-for: none)".to_owned()
    } else if resource.kind == Kind::Pod && handled == "service" {
        "handles traffic to services only (istio.io/waypoint-for)".to_owned()
    } else if matches!(resource.kind, Kind::Service | Kind::ServiceEntry) && handled == "workload" {
        "handles traffic to workloads only (istio.io/waypoint-for)".to_owned()
    } else {
        return;
    };
    let message = format!("Gateway {} {problem}", gateway.full_name());
    findings
        .add(&SH7137, resource, message)
        .field(format!("metadata.labels[\"{USE}\"]"))
        .arguments([gateway.full_name()])
        .related(gateway);
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn waypoint_has_to_handle_the_traffic_of_the_kind() {
        let text = |kind: &str, handled: &str| {
            format!(
                "apiVersion: v1\nkind: {kind}\nmetadata: {{name: a, namespace: shop, labels: {{istio.io/use-waypoint: w}}}}\n\
                 ---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\n\
                 metadata: {{name: w, namespace: shop, labels: {{istio.io/waypoint-for: {handled}}}}}\n\
                 spec: {{gatewayClassName: istio-waypoint, listeners: [{{name: mesh, port: 15008, protocol: HBONE}}]}}\n"
            )
        };
        for (kind, handled, wanted) in [
            ("Service", "service", false),
            ("Service", "all", false),
            ("Service", "workload", true),
            ("Pod", "service", true),
            ("Pod", "workload", false),
            ("Pod", "none", true),
        ] {
            assert_eq!(reported(&text(kind, handled)).contains("SH7137"), wanted, "{kind} {handled}");
        }
    }
}
