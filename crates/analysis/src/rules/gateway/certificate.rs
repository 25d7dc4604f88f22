//! One certificate in several Gateways of one proxy. Source: istio `analyzers/gateway/certificate.go`.
//!
//! Differs from istioctl: a credential is only the same in the same cluster, and mutual TLS of Istio has none.

use std::sync::Arc;

use crate::{Check, Code, Example, Findings, KeyIndex, Keys, Kind, Level, Node, Resource, Rule, Selector, View};

/// The rule.
pub static RULE: Rule = Rule {
    name: "gateway.CertificateAnalyzer",
    codes: &[&IST0138],
    reads: &[Kind::Gateway],
    check: Check::Each(&[Kind::Gateway], check),
};

static IST0138: Code = Code {
    id: "IST0138",
    name: "GatewayDuplicateCertificate",
    level: Level::Warning,
    title: "Two Gateways of one proxy use the same certificate",
    why: "Browsers send requests for a host over an open connection to another host of the same certificate. The proxy \
          knows only the hosts of the Gateway the connection was made for, and answers 404.",
    remedy: "Put the hosts of a certificate into one Gateway, or give each Gateway a certificate of its own.",
    source: "https://istio.io/latest/docs/ops/common-problems/network-issues/#404-errors-occur-when-multiple-gateways-configured-with-same-tls-certificate",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: one, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {name: https, number: 443, protocol: HTTPS}, hosts: [a.example.com], tls: {mode: SIMPLE, credentialName: cert}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: two, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {name: https, number: 443, protocol: HTTPS}, hosts: [b.example.com], tls: {mode: SIMPLE, credentialName: cert}}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: one, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {name: https, number: 443, protocol: HTTPS}
    hosts: [a.example.com, b.example.com]
    tls: {mode: SIMPLE, credentialName: cert}
",
    },
    also: &[],
};

static BY_CERTIFICATE: KeyIndex =
    KeyIndex { name: "gateways by certificate", kinds: &[Kind::Gateway], keys: by_certificate };

fn by_certificate(gateway: &Resource, keys: &mut Keys<'_>) {
    for server in gateway.spec()["servers"].items() {
        if let Some(certificate) = certificate(server) {
            keys.add(&certificate);
        }
    }
}

/// What a server shows: a credential, or files.
fn certificate(server: &Node) -> Option<[&str; 3]> {
    let tls = &server["tls"];
    let text = |key: &str| tls[key].text();
    let certificate = [text("credentialName"), text("serverCertificate"), text("privateKey")];
    match certificate {
        ["", "", _] | ["", _, ""] => None,
        ["", ..] => Some(certificate),
        [credential, ..] => Some([credential, "", ""]),
    }
}

fn check(view: &View<'_>, gateway: &Resource, findings: &mut Findings) {
    let own = Selector::new(&gateway.spec()["selector"]);
    let mut told: Vec<&Arc<Resource>> = Vec::new();
    for (index, server) in gateway.spec()["servers"].items().iter().enumerate() {
        let Some(certificate) = certificate(server) else { continue };
        for other in view.lookup(&BY_CERTIFICATE, &certificate) {
            let is_self = (&other.namespace, &other.name) == (&gateway.namespace, &gateway.name);
            // Whoever has all labels that the other wants is a proxy of both.
            let shares_proxies = Selector::new(&other.spec()["selector"]).is_within(&own);
            let is_near = other.cluster == gateway.cluster;
            if is_self || !is_near || !shares_proxies || told.iter().any(|seen| Arc::ptr_eq(seen, other)) {
                continue;
            }
            told.push(other);
            let names = [gateway.full_name(), other.full_name()];
            let field = if certificate[0].is_empty() { "serverCertificate" } else { "credentialName" };
            findings
                .add(&IST0138, gateway, format!("{} uses the same certificate", names[1]))
                .field(format!("spec.servers[{index}].tls.{field}"))
                .arguments([names.join(" ")])
                .related(other);
        }
    }
}
