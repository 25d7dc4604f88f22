//! Checks that the route type matches the TLS mode of the gateway port. Source: istio.io, common network problems,
//! "Gateway to virtual service TLS mismatch".

use crate::rules::support::gateway_binding;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Value, View, hosts};

pub static RULE: Rule = Rule {
    name: "edge.TlsRoutes",
    codes: &[&SH7307],
    inputs: &[Kind::Gateway, Kind::VirtualService],
    check: Check::Each(&[Kind::VirtualService], check),
};

static SH7307: Code = Code {
    id: "SH7307",
    name: "RouteTypeMismatch",
    level: Level::Error,
    title: "Route type does not match the TLS mode of the Gateway",
    why: "A gateway that terminates TLS routes HTTP and ignores tls routes. A gateway that passes TLS through cannot \
          read HTTP and ignores http routes. Requests fail with 404 or a closed connection.",
    remedy: "Use http routes for servers that terminate TLS or use HTTP (tls mode SIMPLE or MUTUAL), and tls routes \
             for mode PASSTHROUGH.",
    source: "https://istio.io/latest/docs/ops/common-problems/network-issues/#gateway-to-virtual-service-tls-mismatch",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: public, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    tls: {mode: SIMPLE, credentialName: shop}
    hosts: [shop.example.com]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: shop}
spec:
  hosts: [shop.example.com]
  gateways: [public]
  tls:
  - match: [{sniHosts: [shop.example.com]}]
    route: [{destination: {host: shop}}]
",
        after: "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: public, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    tls: {mode: SIMPLE, credentialName: shop}
    hosts: [shop.example.com]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: shop}
spec:
  hosts: [shop.example.com]
  gateways: [public]
  http:
  - route: [{destination: {host: shop}}]
",
    },
    also: &[],
};

fn check(view: &View<'_>, service: &Resource, findings: &mut Findings) {
    let spec = service.spec();
    for kind in ["http", "tls"] {
        if spec[kind].items().is_empty() {
            continue;
        }
        let mut matching = None;
        for gateway in gateway_binding::gateways(service) {
            // Routes that are bound to mesh too are in use there.
            let (namespace, name) = gateway_binding::named(gateway, &service.namespace);
            let Some(found) = (gateway != "mesh").then(|| view.get(Kind::Gateway, namespace, name)).flatten() else {
                return;
            };
            for server in found.spec()["servers"].items().iter().filter(|server| is_for(server, found, service)) {
                if takes(server, kind) {
                    matching = None;
                    break;
                }
                matching = matching.or(Some((found, server)));
            }
            if matching.is_none() {
                break;
            }
        }
        let Some((gateway, server)) = matching else { continue };
        let port = server["port"]["number"].scalar_text();
        let does = if kind == "http" { "passes TLS through" } else { "decrypts" };
        let message = format!("{kind} routes are ignored, because port {port} of {} {does}", gateway.full_name());
        findings
            .add(&SH7307, service, message)
            .field(format!("spec.{kind}"))
            .arguments([kind, &gateway.full_name(), &port])
            .related(gateway);
    }
}

fn is_for(server: &Value, gateway: &Resource, service: &Resource) -> bool {
    server["hosts"].texts().any(|offered| {
        let (namespace, offered) = offered.split_once('/').unwrap_or(("*", offered));
        let namespace = if namespace == "." { &gateway.namespace } else { namespace };
        (namespace == "*" || namespace == service.namespace)
            && service.spec()["hosts"].texts().any(|host| hosts::overlaps(offered, host))
    })
}

fn takes(server: &Value, kind: &str) -> bool {
    let protocol = server["port"]["protocol"].text().to_ascii_uppercase();
    let passes = server.at("tls.mode").text().ends_with("PASSTHROUGH");
    match kind {
        "http" => !passes && !matches!(protocol.as_str(), "TLS" | "TCP" | "MONGO"),
        _ => passes || matches!(protocol.as_str(), "TCP" | "MONGO"),
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn route_bound_to_mesh_is_in_use() {
        let mesh = super::SH7307.example.before.replace("gateways: [public]", "gateways: [public, mesh]");
        assert!(!reported(&mesh).contains("SH7307"));
    }

    #[test]
    fn http_routes_at_passthrough_gateway_are_unused() {
        let passthrough = super::SH7307
            .example
            .after
            .replace("tls: {mode: SIMPLE, credentialName: shop}", "tls: {mode: PASSTHROUGH}");
        assert!(reported(&passthrough).contains("SH7307"));
    }
}
