//! Checks for TLS inside TLS. Source: istio.io, TLS configuration mistakes, "Double TLS".

use super::protocol::{WireProtocol, number, wire_protocol};
use crate::hosts::fqdn;
use crate::{Check, Code, Example, Findings, KeyIndex, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "ports.DoubleTls",
    codes: &[&SH7305],
    inputs: &[Kind::DestinationRule, Kind::VirtualService, Kind::Service, Kind::ServiceEntry],
    check: Check::Each(&[Kind::DestinationRule], check),
};

static SH7305: Code = Code {
    id: "SH7305",
    name: "DoubleTls",
    level: Level::Warning,
    title: "DestinationRule originates TLS for traffic that is already TLS",
    why: "The proxy encrypts the application's TLS connection again. The server receives a second handshake instead \
          of a request, and the connection fails.",
    remedy: "Limit the tls settings to the plaintext HTTP port with portLevelSettings, or let the application send \
             plaintext HTTP and declare the port as HTTP.",
    source: "https://istio.io/latest/docs/ops/common-problems/network-issues/#double-tls",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: shop}
spec:
  hosts: [api.example.com]
  ports: [{number: 443, name: https, protocol: HTTPS}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: api, namespace: shop}
spec:
  host: api.example.com
  trafficPolicy: {tls: {mode: SIMPLE, caCertificates: system}}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: shop}
spec:
  hosts: [api.example.com]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 443}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: api, namespace: shop}
spec:
  host: api.example.com
  trafficPolicy: {tls: {mode: SIMPLE, caCertificates: system}}
",
    },
    also: &[],
};

/// `VirtualService`s by host and port of an http destination.
static HTTP_ROUTES: KeyIndex = KeyIndex {
    name: "virtual services by http destination",
    kinds: &[Kind::VirtualService],
    keys: |service, keys| {
        for route in service.spec()["http"].items() {
            for entry in route["route"].items() {
                let destination = &entry["destination"];
                let host = fqdn(destination["host"].text(), &service.namespace);
                keys.add(&[&host, &destination.at("port.number").scalar_text()]);
            }
        }
    },
};

fn check(view: &View<'_>, rule: &Resource, findings: &mut Findings) {
    let policy = &rule.spec()["trafficPolicy"];
    let starts_tls = |tls: &crate::Value| matches!(tls["mode"].text(), "SIMPLE" | "MUTUAL");
    let by_port = policy["portLevelSettings"].items();
    if !starts_tls(&policy["tls"]) && !by_port.iter().any(|settings| starts_tls(&settings["tls"])) {
        return;
    }
    let host = rule.spec()["host"].text();
    let Some(provider) = view.providers(rule, host).first() else { return };
    for port in provider.spec()["ports"].items() {
        let Some(number) = number(provider, port) else { continue };
        // For a service behind a gateway that terminates TLS it is unknown which side originates TLS.
        if wire_protocol(provider, port) != WireProtocol::Tls || provider.kind == Kind::Service {
            continue;
        }
        // An http route, for example from an egress gateway, sends plaintext to this destination.
        if view.has_key(&HTTP_ROUTES, &[&fqdn(host, &rule.namespace), &number.to_string()]) {
            continue;
        }
        let own = by_port.iter().position(|settings| settings["port"]["number"].as_int() == Some(number));
        let (tls, path) = match own {
            Some(index) => (&by_port[index]["tls"], format!("spec.trafficPolicy.portLevelSettings[{index}].tls.mode")),
            None => (&policy["tls"], "spec.trafficPolicy.tls.mode".to_owned()),
        };
        if starts_tls(tls) {
            let message = format!(
                "TLS is originated for port {number} of {host}, but according to {} the application already uses TLS",
                provider.full_name()
            );
            findings.add(&SH7305, rule, message).field(path).arguments([host, &number.to_string()]).related(provider);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn egress_gateway_may_originate_tls() {
        let egress = format!(
            "{}---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: api, namespace: shop}}
spec:
  hosts: [api.example.com]
  gateways: [egress]
  http: [{{route: [{{destination: {{host: api.example.com, port: {{number: 443}}}}}}]}}]
",
            super::SH7305.example.before
        );
        assert!(!reported(&egress).contains("SH7305"));
    }

    #[test]
    fn port_level_settings_do_not_affect_other_ports() {
        let plain = super::SH7305
            .example
            .before
            .replace("tls: {mode", "portLevelSettings: [{port: {number: 80}, tls: {mode")
            .replace("caCertificates: system}}", "caCertificates: system}}]}");
        assert!(!reported(&plain).contains("SH7305"));
    }
}
