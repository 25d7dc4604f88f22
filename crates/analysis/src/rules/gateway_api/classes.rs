//! Checks for Gateways whose class does not exist. Source: Gateway API, `GatewayClass`; Kiali's check KIA1504.

use super::status::is_refused;
use crate::istio::managed::{EAST_WEST_CLASS, REMOTE_CLASS, WAYPOINT_CLASS};
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "gateway_api.Classes",
    codes: &[&SH7146],
    inputs: &[Kind::KubernetesGateway, Kind::GatewayClass],
    check: Check::Each(&[Kind::KubernetesGateway], check),
};

static SH7146: Code = Code {
    id: "SH7146",
    name: "GatewayClassUnknown",
    level: Level::Error,
    title: "GatewayClass does not exist",
    why: "No controller implements the Gateway: it gets no proxy and no address, and no error appears in its status.",
    remedy: "Use a class that `kubectl get gatewayclasses` lists, such as istio, or istio-waypoint for a waypoint.",
    source: "https://gateway-api.sigs.k8s.io/reference/spec/#gatewayclass",
    example: Example {
        before: "\
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: istio}
spec: {controllerName: istio.io/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: ingress}
spec: {gatewayClassName: istio-ingress, listeners: [{name: http, port: 80, protocol: HTTP}]}
",
        after: "\
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: istio}
spec: {controllerName: istio.io/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: ingress}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}
",
    },
    also: &["KIA1504"],
};

/// Classes that istiod creates automatically.
const BUILT_IN: [&str; 5] = ["istio", REMOTE_CLASS, WAYPOINT_CLASS, EAST_WEST_CLASS, "istio-agentgateway"];

fn check(view: &View<'_>, gateway: &Resource, findings: &mut Findings) {
    let class = gateway.spec()["gatewayClassName"].text();
    if class.is_empty()
        || BUILT_IN.contains(&class)
        || !view.has(Kind::GatewayClass)
        || view.may_make_anything() && !view.is_stated_whole()
        || view.has_named(Kind::GatewayClass, "", class)
        || is_refused(gateway, "Accepted")
    {
        return;
    }
    let message = format!("GatewayClass {class} does not exist");
    findings.add(&SH7146, gateway, message).field("spec.gatewayClassName").arguments([class]);
}
