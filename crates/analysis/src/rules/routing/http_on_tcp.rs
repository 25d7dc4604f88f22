//! HTTP routes for hosts that speak no HTTP. Source: istio.io, "Protocol Selection"; istio `pilot/pkg/networking/core`
//! (listeners of TCP ports take `tcp` and `tls` routes only).

use crate::istio::protocol::{Protocol, of_declared_port, of_service_port};
use crate::rules::support::gateway_binding::gateways;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Value, View};

/// The rule.
pub static RULE: Rule = Rule {
    name: "routing.HttpOnTcp",
    codes: &[&SH7134],
    inputs: &[Kind::VirtualService, Kind::Service, Kind::ServiceEntry],
    check: Check::Each(&[Kind::VirtualService], check),
};

static SH7134: Code = Code {
    id: "SH7134",
    name: "HttpRouteForTcpPorts",
    level: Level::Warning,
    title: "HTTP routes apply to a host whose ports are TCP or TLS",
    why: "A proxy reads requests only on ports that are declared as HTTP or gRPC. On the others it ignores HTTP routes: \
          matches, timeouts, retries and weights have no effect.",
    remedy: "Name the Service's port http-… or set its appProtocol, if it carries HTTP without TLS; otherwise use tcp or tls \
             routes.",
    source: "https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/",
    example: Example {
        before: "\
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{port: 80, name: tcp-web}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec: {hosts: [cart], http: [{timeout: 2s, route: [{destination: {host: cart}}]}]}
",
        after: "\
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{port: 80, name: http-web}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec: {hosts: [cart], http: [{timeout: 2s, route: [{destination: {host: cart}}]}]}
",
    },
    also: &[],
};

fn check(view: &View<'_>, service: &Resource, findings: &mut Findings) {
    let spec = service.spec();
    if spec["http"].is_empty() || !gateways(service).any(|gateway| gateway == "mesh") {
        return;
    }
    for (index, host) in spec["hosts"].texts().enumerate() {
        if host.starts_with('*') {
            continue;
        }
        let providers = view.providers(service, host);
        let ports = || {
            providers.iter().flat_map(|provider| provider.spec()["ports"].items().iter().map(move |it| (provider, it)))
        };
        if ports().next().is_none() || ports().any(|(provider, port)| may_be_http(provider, port)) {
            continue;
        }
        let named: Vec<String> = ports().map(|(_, port)| port["name"].scalar_text().to_string()).collect();
        let named = named.join(", ");
        let message = format!("no port of {host} is HTTP ({named}), so the HTTP routes do not apply to it");
        findings.add(&SH7134, service, message).field(format!("spec.hosts[{index}]")).arguments([host, &named]);
    }
}

/// Whether a proxy may read requests on a port: it is declared as HTTP, or nothing is declared.
fn may_be_http(provider: &Resource, port: &Value) -> bool {
    let declared = if provider.kind == Kind::ServiceEntry { of_declared_port(port) } else { of_service_port(port) };
    matches!(declared, Protocol::Http | Protocol::Undeclared)
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn one_port_that_may_carry_http_is_enough() {
        let before = super::SH7134.example.before;
        for (ports, wanted) in [
            ("{port: 80, name: tcp-web}, {port: 81, name: mongo}", true),
            ("{port: 80, name: tcp-web}, {port: 81, name: web}", false),
            ("{port: 80, name: web, appProtocol: tcp}", true),
            ("{port: 443, name: https}", true),
        ] {
            let text = before.replace("{port: 80, name: tcp-web}", ports);
            assert_eq!(reported(&text).contains("SH7134"), wanted, "{ports}");
        }
        let of_gateway = before.replace("hosts: [cart],", "hosts: [cart], gateways: [web],");
        assert!(!reported(&of_gateway).contains("SH7134"));
    }
}
