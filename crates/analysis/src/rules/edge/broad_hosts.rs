//! Gateways open for every host. Source: istio.io, security best practices, "Avoid overly broad hosts configurations".

use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

/// The rule.
pub static RULE: Rule = Rule {
    name: "edge.BroadHosts",
    codes: &[&SH7214],
    reads: &[Kind::Gateway],
    check: Check::Each(&[Kind::Gateway], check),
};

static SH7214: Code = Code {
    id: "SH7214",
    name: "GatewayForAllHosts",
    level: Level::Info,
    title: "A Gateway takes every host",
    why: "Any VirtualService that names the gateway may take over any host, also one that nobody meant to publish.",
    remedy: "List the hosts that are published, such as shop.example.com or *.example.com; a namespace before a slash \
             says whose VirtualServices may use them.",
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
        // Between clusters and for egress by SNI the wildcard is the point: nothing is terminated.
        if server.at("tls.mode").text().ends_with("PASSTHROUGH") {
            continue;
        }
        for (at, host) in server["hosts"].texts().enumerate() {
            if matches!(host, "*" | "*/*") {
                let port = server["port"]["number"].scalar_text();
                let message = format!("port {port} of {} takes every host, from each namespace", gateway.name);
                findings
                    .add(&SH7214, gateway, message)
                    .field(format!("spec.servers[{index}].hosts[{at}]"))
                    .arguments([host, &port]);
            }
        }
    }
}
