//! Checks for a host that requires client certificates and is also covered by a wildcard that does not. Source:
//! istio.io, security best practices, "Explicitly disable all the sensitive http host under relaxed SNI host matching".

use crate::rules::support::gateway_binding::{self, gateway_key};
use crate::{Check, Code, Example, Findings, KeyIndex, Kind, Level, Resource, Rule, Selector, Value, View, hosts};

pub static RULE: Rule = Rule {
    name: "edge.ReusedConnection",
    codes: &[&SH7217],
    inputs: &[Kind::Gateway, Kind::VirtualService],
    check: Check::Each(&[Kind::Gateway], check),
};

static SH7217: Code = Code {
    id: "SH7217",
    name: "ClientCertificateBypass",
    level: Level::Warning,
    title: "Host with mutual TLS is also covered by a wildcard host without it",
    why: "A client can open a connection for another name under the wildcard, without a certificate, and request the \
          protected host on it. HTTP/2 permits this reuse, and the routes of the wildcard may respond.",
    remedy: "Bind a VirtualService for the protected host to the wildcard's Gateway that returns status 421 with \
             directResponse, or replace the wildcard with a list of hosts.",
    source: "https://istio.io/latest/docs/ops/best-practices/security/#explicitly-disable-all-the-sensitive-http-host-under-relaxed-sni-host-matching",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: wide, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    tls: {mode: SIMPLE, credentialName: wide}
    hosts: ['*.example.com']
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: admin, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https-admin, protocol: HTTPS}
    tls: {mode: MUTUAL, credentialName: admin}
    hosts: [admin.example.com]
",
        after: "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: wide, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    tls: {mode: SIMPLE, credentialName: wide}
    hosts: ['*.example.com']
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: admin, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https-admin, protocol: HTTPS}
    tls: {mode: MUTUAL, credentialName: admin}
    hosts: [admin.example.com]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: no-admin-here, namespace: istio-system}
spec:
  hosts: [admin.example.com]
  gateways: [wide]
  http:
  - directResponse: {status: 421}
",
    },
    also: &[],
};

/// Gateways with a wildcard host and without mutual TLS, by the wildcard.
static WIDE: KeyIndex = KeyIndex {
    name: "gateways without client certificates by wildcard",
    kinds: &[Kind::Gateway],
    keys: |gateway, keys| {
        let selector = Selector::new(&gateway.spec()["selector"]).to_string();
        for server in gateway.spec()["servers"].items().iter().filter(|server| server.at("tls.mode").text() == "SIMPLE")
        {
            let port = server["port"]["number"].scalar_text();
            for host in server["hosts"].texts().map(bare).filter(|host| host.starts_with('*')) {
                keys.add(&[&selector, &port, host]);
            }
        }
    },
};

fn check(view: &View<'_>, gateway: &Resource, findings: &mut Findings) {
    let is_guarded = |server: &Value| matches!(server.at("tls.mode").text(), "MUTUAL");
    let servers = gateway.spec()["servers"].items();
    if !servers.iter().any(is_guarded) {
        return;
    }
    let selector = Selector::new(&gateway.spec()["selector"]).to_string();
    for (index, server) in servers.iter().enumerate().filter(|(_, server)| is_guarded(server)) {
        let port = server["port"]["number"].scalar_text();
        for (at, host) in server["hosts"].texts().enumerate() {
            let host = bare(host);
            if host == "*" {
                continue;
            }
            for wildcard in hosts::wildcards(host.strip_prefix('*').unwrap_or(host)).filter(|wildcard| wildcard != host)
            {
                let wide = view
                    .lookup(&WIDE, &[&selector, &port, &wildcard])
                    .iter()
                    .find(|wide| !is_refused(view, wide, host));
                let Some(wide) = wide else { continue };
                let message = format!(
                    "{host} requires client certificates, but {wildcard} in {} on the same port does not",
                    wide.full_name()
                );
                findings
                    .add(&SH7217, gateway, message)
                    .field(format!("spec.servers[{index}].hosts[{at}]"))
                    .arguments([host, &wildcard, &wide.full_name()])
                    .related(wide);
                break;
            }
        }
    }
}

/// Whether a VirtualService handles the host at the wildcard's Gateway on purpose.
fn is_refused(view: &View<'_>, wide: &Resource, host: &str) -> bool {
    view.lookup(&gateway_binding::BY_GATEWAY, &gateway_key(wide)).iter().any(|service| {
        service.spec()["hosts"].texts().any(|bound| bound == host)
            && service.spec()["http"].items().iter().any(|route| route["directResponse"].is_set())
    })
}

fn bare(host: &str) -> &str {
    host.rsplit_once('/').map_or(host, |(_, host)| host)
}
