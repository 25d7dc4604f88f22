//! Checks for Gateways of the same workload that share a certificate. Source: istio `analyzers/gateway/certificate.go`.
//!
//! Differs from istioctl: credentials are equal only within a cluster, and `ISTIO_MUTUAL` has no credential.

use std::sync::Arc;

use crate::{Check, Code, Example, Findings, KeyIndex, Keys, Kind, Level, Resource, Rule, Selector, Value, View};

pub static RULE: Rule = Rule {
    name: "gateway.CertificateAnalyzer",
    codes: &[&IST0138],
    inputs: &[Kind::Gateway],
    check: Check::Each(&[Kind::Gateway], check),
};

static IST0138: Code = Code {
    id: "IST0138",
    name: "GatewayDuplicateCertificate",
    level: Level::Warning,
    title: "Gateways of the same workload share a certificate",
    why: "With HTTP/2 a browser reuses an open connection for another host of the same certificate. The gateway knows \
          only the hosts of the Gateway for which the connection was opened, and responds with 404.",
    remedy: "List the hosts of a certificate in one Gateway, or use a separate certificate for each Gateway.",
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

/// The certificate of a server: a credential, or files.
fn certificate(server: &Value) -> Option<[&str; 3]> {
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
    let mut reported: Vec<&Arc<Resource>> = Vec::new();
    for (index, server) in gateway.spec()["servers"].items().iter().enumerate() {
        let Some(certificate) = certificate(server) else { continue };
        for other in view.lookup(&BY_CERTIFICATE, &certificate) {
            let is_self = (&other.namespace, &other.name) == (&gateway.namespace, &gateway.name);
            // A workload with all labels of both selectors belongs to both Gateways.
            let shares_proxies = Selector::new(&other.spec()["selector"]).is_within(&own);
            let is_near = other.cluster == gateway.cluster;
            if is_self || !is_near || !shares_proxies || reported.iter().any(|seen| Arc::ptr_eq(seen, other)) {
                continue;
            }
            reported.push(other);
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
