//! TLS within TLS. Source: istio.io, TLS configuration mistakes, "Double TLS".

use super::protocol::{Spoken, number, spoken};
use crate::hosts::fqdn;
use crate::{Check, Code, Example, Findings, KeyIndex, Kind, Level, Resource, Rule, View};

/// The rule.
pub static RULE: Rule = Rule {
    name: "ports.DoubleTls",
    codes: &[&SH7305],
    reads: &[Kind::DestinationRule, Kind::VirtualService, Kind::Service, Kind::ServiceEntry],
    check: Check::Each(&[Kind::DestinationRule], check),
};

static SH7305: Code = Code {
    id: "SH7305",
    name: "DoubleTls",
    level: Level::Warning,
    title: "A DestinationRule starts TLS on a port on which the application does",
    why: "The proxy wraps the application's TLS into its own. The server finds a second handshake where it expects a \
          request, and the connection fails.",
    remedy: "Give the tls settings to the port of plain HTTP only (portLevelSettings), or let the application speak \
             plain HTTP and declare the port as HTTP.",
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
    let starts_tls = |tls: &crate::Node| matches!(tls["mode"].text(), "SIMPLE" | "MUTUAL");
    let by_port = policy["portLevelSettings"].items();
    if !starts_tls(&policy["tls"]) && !by_port.iter().any(|settings| starts_tls(&settings["tls"])) {
        return;
    }
    let host = rule.spec()["host"].text();
    let Some(provider) = view.providers(rule, host).first() else { return };
    for port in provider.spec()["ports"].items() {
        let Some(number) = number(provider, port) else { continue };
        // Of a service behind a gateway that decrypts it is not known who starts TLS.
        if spoken(provider, port) != Spoken::Tls || provider.kind == Kind::Service {
            continue;
        }
        // An http route leads there, as from an egress gateway: what the rule gets is plain.
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
                "TLS is started for port {number} of {host}, and {} says that the application does it",
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
    fn an_egress_gateway_starts_tls_for_what_it_routes() {
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
    fn settings_of_the_plain_port_leave_the_other_alone() {
        let plain = super::SH7305
            .example
            .before
            .replace("tls: {mode", "portLevelSettings: [{port: {number: 80}, tls: {mode")
            .replace("caCertificates: system}}", "caCertificates: system}}]}");
        assert!(!reported(&plain).contains("SH7305"));
    }
}
