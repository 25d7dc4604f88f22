//! Checks references to waypoints that do not exist, are not used, or serve another type of traffic. Source: istio.io,
//! ambient, "Configure waypoint proxies"; Kiali's checks KIA1312, KIA1313.

use super::waypoint::{self, choice_of};
use crate::istio::waypoint::{USE, traffic_type};
use crate::membership::namespace_mode;
use crate::rules::support::completeness::is_whole_cluster;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "ambient.Enrolment",
    codes: &[&SH7152, &SH7153, &SH7154],
    inputs: &[Kind::Namespace, Kind::Service, Kind::KubernetesGateway, Kind::MeshConfig, Kind::Deployment],
    check: Check::Each(&[Kind::Namespace, Kind::Service], check),
};

static SH7152: Code = Code {
    id: "SH7152",
    name: "WaypointUnknown",
    level: Level::Error,
    title: "Referenced waypoint does not exist",
    why: "Traffic bypasses the waypoint without an error: policies, routes and retries that need it are not enforced.",
    remedy: "Create the waypoint (a Gateway of class istio-waypoint), or correct the label istio.io/use-waypoint. A \
             waypoint in another namespace also needs the label istio.io/use-waypoint-namespace.",
    source: "https://istio.io/latest/docs/ambient/usage/waypoint/#useawaypoint",
    example: Example {
        before: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient, istio.io/use-waypoint: way}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: shop}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
",
        after: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient, istio.io/use-waypoint: waypoint}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: shop}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
",
    },
    also: &["KIA1313"],
};

static SH7153: Code = Code {
    id: "SH7153",
    name: "WaypointOutsideAmbient",
    level: Level::Warning,
    title: "Namespace uses a waypoint but is not in the ambient mesh",
    why: "ztunnel does not capture its pods, so their traffic bypasses every waypoint.",
    remedy: "Label the namespace istio.io/dataplane-mode=ambient, or remove istio.io/use-waypoint.",
    source: "https://istio.io/latest/docs/ambient/usage/add-workloads/",
    example: Example {
        before: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/use-waypoint: waypoint}}
",
        after: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient, istio.io/use-waypoint: waypoint}}
",
    },
    also: &["KIA1312"],
};

static SH7154: Code = Code {
    id: "SH7154",
    name: "WaypointNotForServices",
    level: Level::Warning,
    title: "Service uses a waypoint that does not serve services",
    why: "A waypoint with istio.io/waypoint-for: workload (or none) does not process traffic addressed to a service, \
          so the traffic bypasses it.",
    remedy: "Label the waypoint istio.io/waypoint-for=service or all, or use another waypoint.",
    source: "https://istio.io/latest/docs/ambient/usage/waypoint/#waypoint-traffic-types",
    example: Example {
        before: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: shop, labels: {istio.io/waypoint-for: workload}}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop, labels: {istio.io/use-waypoint: waypoint}}
spec: {ports: [{port: 80, name: http}]}
",
        after: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: shop, labels: {istio.io/waypoint-for: service}}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop, labels: {istio.io/use-waypoint: waypoint}}
spec: {ports: [{port: 80, name: http}]}
",
    },
    also: &[],
};

fn check(view: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let is_namespace = resource.kind == Kind::Namespace;
    let Some((namespace, name)) = choice_of(resource).named() else { return };
    let field = format!("metadata.labels[\"{USE}\"]");
    if is_namespace
        && !namespace_mode(resource).is_ambient()
        && resource.label("istio.io/ingress-use-waypoint").is_none()
    {
        let message = format!("{} uses waypoint {name} but is not in the ambient mesh", resource.name);
        findings.add(&SH7153, resource, message).field(field).arguments([name]);
        return;
    }
    let Some(gateway) = view.get(Kind::KubernetesGateway, namespace, name) else {
        let is_bound_false = resource.status()["conditions"].items().iter().any(|condition| {
            condition["type"].text() == "istio.io/WaypointBound" && condition["status"].text() == "False"
        });
        let is_known = waypoint::runs_waypoint(view, namespace) && !view.may_be_made("Gateway", namespace, "")
            || is_whole_cluster(view);
        // IST0171 reports what the status says.
        if is_known && !is_bound_false {
            let message = format!("waypoint {namespace}/{name} does not exist");
            findings.add(&SH7152, resource, message).field(field).arguments([format!("{namespace}/{name}")]);
        }
        return;
    };
    let serves = traffic_type(gateway.root.at("metadata.labels"));
    if !is_namespace && matches!(serves, "workload" | "none") {
        let message = format!(
            "waypoint {} is for {serves} and does not process traffic addressed to services",
            gateway.full_name()
        );
        findings
            .add(&SH7154, resource, message)
            .field(field)
            .arguments([&gateway.full_name(), serves])
            .related(gateway);
    }
}
