//! Checks for hosts that a Gateway serves over both HTTPS and plaintext HTTP. Source: istio.io, security best
//! practices, "Gateway"; Gateway reference, `httpsRedirect`.

use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Value, View, hosts};

pub static RULE: Rule = Rule {
    name: "edge.HttpsRedirect",
    codes: &[&SH7215],
    inputs: &[Kind::Gateway],
    check: Check::Each(&[Kind::Gateway], check),
};

static SH7215: Code = Code {
    id: "SH7215",
    name: "NoHttpsRedirect",
    level: Level::Info,
    title: "Gateway serves a host over HTTPS and over HTTP without a redirect",
    why: "Clients that use http:// stay on plaintext, including their cookies and passwords.",
    remedy: "Set tls.httpsRedirect: true on the server of the HTTP port.",
    source: "https://istio.io/latest/docs/reference/config/networking/gateway/#ServerTLSSettings-https_redirect",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: public, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: [shop.example.com]
  - port: {number: 443, name: https, protocol: HTTPS}
    tls: {mode: SIMPLE, credentialName: shop}
    hosts: [shop.example.com]
",
        after: "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: public, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    tls: {httpsRedirect: true}
    hosts: [shop.example.com]
  - port: {number: 443, name: https, protocol: HTTPS}
    tls: {mode: SIMPLE, credentialName: shop}
    hosts: [shop.example.com]
",
    },
    also: &[],
};

/// Limit on the servers of one Gateway that are compared with each other.
const COMPARED: usize = 64;

fn check(_: &View<'_>, gateway: &Resource, findings: &mut Findings) {
    let servers = gateway.spec()["servers"].items();
    if servers.len() > COMPARED {
        return;
    }
    let encrypted: Vec<&Value> =
        servers.iter().filter(|server| server["port"]["protocol"].text().eq_ignore_ascii_case("HTTPS")).collect();
    for (index, server) in servers.iter().enumerate() {
        if !server["port"]["protocol"].text().eq_ignore_ascii_case("HTTP") || server["tls"]["httpsRedirect"].is_true() {
            continue;
        }
        let shared = server["hosts"].texts().find(|host| {
            encrypted.iter().any(|other| other["hosts"].texts().any(|other| hosts::overlaps(bare(host), bare(other))))
        });
        if let Some(host) = shared {
            let port = server["port"]["number"].scalar_text();
            let message = format!(
                "{host} is served over HTTPS, but port {port} serves it over plaintext HTTP without a \
                         redirect"
            );
            findings
                .add(&SH7215, gateway, message)
                .field(format!("spec.servers[{index}].hosts"))
                .arguments([host, &port]);
        }
    }
}

/// The host without its namespace prefix.
fn bare(host: &str) -> &str {
    host.rsplit_once('/').map_or(host, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn plaintext_only_hosts_are_ignored() {
        let other = super::SH7215.example.before.replacen("shop.example.com", "status.example.org", 1);
        assert!(!reported(&other).contains("SH7215"));
    }
}
