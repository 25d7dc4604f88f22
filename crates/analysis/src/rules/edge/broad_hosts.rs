//! Checks for Gateways that accept every host. Source: istio.io, security best practices, "Avoid overly broad hosts
//! configurations".

use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "edge.BroadHosts",
    codes: &[&SH7214],
    inputs: &[Kind::Gateway],
    check: Check::Each(&[Kind::Gateway], check),
};

static SH7214: Code = Code {
    id: "SH7214",
    name: "GatewayForAllHosts",
    level: Level::Info,
    title: "Gateway accepts any host",
    why: "A VirtualService in any namespace can attach to the gateway and claim any host, including one that must not \
          be exposed.",
    remedy: "List the exposed hosts, such as shop.example.com or *.example.com. A namespace prefix (namespace/host) \
             limits which VirtualServices may use them.",
    source: "https://istio.io/latest/docs/ops/best-practices/security/#avoid-overly-broad-hosts-configurations",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: public, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ['*']
",
        after: "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: public, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: [shop/shop.example.com]
",
    },
    also: &[],
};

fn check(_: &View<'_>, gateway: &Resource, findings: &mut Findings) {
    for (index, server) in gateway.spec()["servers"].items().iter().enumerate() {
        // East-west and SNI egress gateways need the wildcard: they do not terminate TLS.
        if server.at("tls.mode").text().ends_with("PASSTHROUGH") {
            continue;
        }
        for (at, host) in server["hosts"].texts().enumerate() {
            if matches!(host, "*" | "*/*") {
                let port = server["port"]["number"].scalar_text();
                let message = format!("port {port} of {} accepts any host from any namespace", gateway.name);
                findings
                    .add(&SH7214, gateway, message)
                    .field(format!("spec.servers[{index}].hosts[{at}]"))
                    .arguments([host, &port]);
            }
        }
    }
}
