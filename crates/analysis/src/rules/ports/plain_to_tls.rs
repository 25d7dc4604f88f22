//! Checks for http routes to a TLS port. Source: istio.io, common network problems, "Gateway to virtual service TLS
//! mismatch" (Gateway with TLS termination), and TLS configuration.

use super::protocol::{WireProtocol, number, wire_protocol};
use crate::hosts::fqdn;
use crate::{Check, Code, Example, Findings, KeyIndex, Kind, Level, Resource, Rule, Value, View, hosts};

pub static RULE: Rule = Rule {
    name: "ports.PlainToTls",
    codes: &[&SH7309],
    inputs: &[Kind::VirtualService, Kind::DestinationRule, Kind::Service, Kind::ServiceEntry],
    check: Check::Each(&[Kind::VirtualService], check),
};

static SH7309: Code = Code {
    id: "SH7309",
    name: "PlainHttpToTlsPort",
    level: Level::Warning,
    title: "HTTP route sends plaintext to a TLS port",
    why: "An http route sends plaintext requests. The server expects a TLS handshake and responds with 400 or closes \
          the connection, unless a DestinationRule originates TLS.",
    remedy: "Add a DestinationRule with tls mode SIMPLE for the host, route to the plaintext port, or pass TLS \
             through with tls routes.",
    source: "https://istio.io/latest/docs/ops/common-problems/network-issues/#gateway-with-tls-termination",
    example: Example {
        before: "\
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{name: https, port: 443}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart.example.com]
  gateways: [public]
  http:
  - route: [{destination: {host: cart, port: {number: 443}}}]
",
        after: "\
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{name: https, port: 443}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: shop}
spec: {host: cart, trafficPolicy: {tls: {mode: SIMPLE, caCertificates: /etc/certs/ca.pem}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart.example.com]
  gateways: [public]
  http:
  - route: [{destination: {host: cart, port: {number: 443}}}]
",
    },
    also: &[],
};

/// `DestinationRule`s that originate TLS, by their host.
static ORIGINATING: KeyIndex = KeyIndex {
    name: "destination rules that start TLS by host",
    kinds: &[Kind::DestinationRule],
    keys: |rule, keys| {
        let starts = |policy: &Value| {
            policy["tls"]["mode"].is_set()
                || policy["portLevelSettings"].items().iter().any(|settings| settings["tls"]["mode"].is_set())
        };
        let spec = rule.spec();
        if starts(&spec["trafficPolicy"])
            || spec["subsets"].items().iter().any(|subset| starts(&subset["trafficPolicy"]))
        {
            keys.add(&[&fqdn(spec["host"].text(), &rule.namespace)]);
        }
    },
};

fn check(view: &View<'_>, service: &Resource, findings: &mut Findings) {
    for (index, route) in service.spec()["http"].items().iter().enumerate() {
        for (at, entry) in route["route"].items().iter().enumerate() {
            let destination = &entry["destination"];
            let host = destination["host"].text();
            let Some(provider) = view.providers(service, host).first() else { continue };
            let wanted = destination.at("port.number").as_int();
            let mut ports = provider.spec()["ports"].items().iter();
            let port = match wanted {
                Some(wanted) => ports.find(|port| number(provider, port) == Some(wanted)),
                None => ports.next().filter(|_| provider.spec()["ports"].items().len() == 1),
            };
            let Some(port) = port.filter(|port| wire_protocol(provider, port) == WireProtocol::Tls) else { continue };
            if starts_tls(view, &fqdn(host, &service.namespace)) {
                continue;
            }
            let name = port["name"].text();
            let message = format!(
                "plaintext HTTP to port {name} of {host}, which expects TLS, and no DestinationRule \
                         originates it"
            );
            findings
                .add(&SH7309, service, message)
                .field(format!("spec.http[{index}].route[{at}].destination.host"))
                .arguments([host, name])
                .related(provider);
        }
    }
}

fn starts_tls(view: &View<'_>, host: &str) -> bool {
    view.has_key(&ORIGINATING, &[host])
        || hosts::wildcards(host).any(|wildcard| view.has_key(&ORIGINATING, &[&wildcard]))
}
