//! Checks for services that have routes of both APIs. Source: istio.io, ambient, "Use Layer 7 features": mixing them is
//! not supported.

use crate::hosts::{fqdn, service_of};
use crate::rules::support::gateway_binding;
use crate::{Check, Code, Example, Findings, KeyIndex, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "ambient.MixedRoutes",
    codes: &[&SH7162],
    inputs: &[Kind::VirtualService, Kind::HttpRoute, Kind::GrpcRoute],
    check: Check::Each(&[Kind::VirtualService], check),
};

static SH7162: Code = Code {
    id: "SH7162",
    name: "MixedRoutes",
    level: Level::Warning,
    title: "Service has both a VirtualService and a Gateway API route",
    why: "Combining the two is not supported: one of them is ignored, and a new release may change which one.",
    remedy: "Use either VirtualService or Gateway API routes for a service.",
    source: "https://istio.io/latest/docs/ambient/usage/l7-features/",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart]
  http: [{timeout: 2s, route: [{destination: {host: cart}}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: shop}
spec:
  parentRefs: [{group: '', kind: Service, name: cart, port: 80}]
  rules: [{backendRefs: [{name: cart, port: 80}]}]
",
        after: "\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: shop}
spec:
  parentRefs: [{group: '', kind: Service, name: cart, port: 80}]
  rules: [{timeouts: {request: 2s}, backendRefs: [{name: cart, port: 80}]}]
",
    },
    also: &[],
};

/// Gateway API routes by the service that is their parent.
static BY_SERVICE: KeyIndex = KeyIndex {
    name: "routes by parent service",
    kinds: &[Kind::HttpRoute, Kind::GrpcRoute],
    keys: |route, keys| {
        for parent in route.spec()["parentRefs"].items().iter().filter(|parent| parent["kind"].text() == "Service") {
            let namespace = parent["namespace"].as_str().unwrap_or(&route.namespace);
            keys.add(&[namespace, parent["name"].text()]);
        }
    },
};

fn check(view: &View<'_>, service: &Resource, findings: &mut Findings) {
    if !gateway_binding::gateways(service).any(|gateway| gateway == "mesh") {
        return;
    }
    for (index, host) in service.spec()["hosts"].texts().enumerate() {
        let full = fqdn(host, &service.namespace);
        let Some((namespace, name)) = service_of(&full) else { continue };
        if let Some(route) = view.lookup(&BY_SERVICE, &[namespace, name]).first() {
            let message = format!("service {namespace}/{name} also has {} {}", route.kind, route.full_name());
            findings
                .add(&SH7162, service, message)
                .field(format!("spec.hosts[{index}]"))
                .arguments([format!("{namespace}/{name}"), route.full_name()])
                .related(route);
        }
    }
}
