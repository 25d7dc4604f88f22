//! Checks for port 443 declared as HTTP. Source: istio.io, common network problems, "Sending HTTPS to an HTTP port".

use super::protocol::{WireProtocol, number, wire_protocol};
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "ports.HttpsPort",
    codes: &[&SH7308],
    inputs: &[Kind::Service, Kind::ServiceEntry, Kind::Gateway],
    check: Check::Each(&[Kind::Service, Kind::ServiceEntry, Kind::Gateway], check),
};

static SH7308: Code = Code {
    id: "SH7308",
    name: "HttpOnPort443",
    level: Level::Warning,
    title: "Port 443 is declared as plaintext HTTP",
    why: "Clients use TLS on this port. The proxy parses the TLS handshake as HTTP and responds with 400 or closes \
          the connection.",
    remedy: "Name the port https or tls (or set appProtocol), or use protocol TLS in a ServiceEntry. If clients send \
             plaintext HTTP and the proxy originates TLS, use port 80 with targetPort 443.",
    source: "https://istio.io/latest/docs/ops/common-problems/network-issues/#sending-https-to-an-http-port",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: shop}
spec:
  hosts: [api.example.com]
  ports: [{number: 443, name: http, protocol: HTTP}]
  resolution: DNS
",
        after: "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: shop}
spec:
  hosts: [api.example.com]
  ports: [{number: 443, name: tls, protocol: TLS}]
  resolution: DNS
",
    },
    also: &[],
};

fn check(_: &View<'_>, provider: &Resource, findings: &mut Findings) {
    if provider.kind == Kind::Gateway {
        return check_gateway(provider, findings);
    }
    for (index, port) in provider.spec()["ports"].items().iter().enumerate() {
        if number(provider, port) != Some(443) || wire_protocol(provider, port) != WireProtocol::Http {
            continue;
        }
        let said = if provider.kind == Kind::ServiceEntry {
            "protocol"
        } else if port["appProtocol"].is_set() {
            "appProtocol"
        } else {
            "name"
        };
        let message =
            format!("port 443 of {} has {said} {}, which means plaintext HTTP", provider.name, port[said].text());
        findings
            .add(&SH7308, provider, message)
            .field(format!("spec.ports[{index}].{said}"))
            .arguments([port[said].text()]);
    }
}

fn check_gateway(gateway: &Resource, findings: &mut Findings) {
    for (index, server) in gateway.spec()["servers"].items().iter().enumerate() {
        let protocol = server.at("port.protocol").text();
        let is_plain = ["HTTP", "HTTP2", "GRPC"].iter().any(|plain| protocol.eq_ignore_ascii_case(plain));
        if server.at("port.number").as_int() != Some(443) || !is_plain {
            continue;
        }
        // A load balancer in front of the gateway may terminate TLS.
        findings
            .add(
                &SH7308,
                gateway,
                format!("port 443 of {} has protocol {protocol}, which means plaintext HTTP", gateway.name),
            )
            .level(Level::Info)
            .field(format!("spec.servers[{index}].port.protocol"))
            .arguments([protocol]);
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn gateway_without_tls_on_443_is_reported() {
        let gateway = |protocol: &str, tls: &str| {
            let server =
                format!("{{port: {{number: 443, name: a, protocol: {protocol}}}, hosts: [a.example.com]{tls}}}");
            reported(&format!(
                "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: a, namespace: b}}\n\
                 spec: {{selector: {{a: b}}, servers: [{server}]}}\n"
            ))
        };
        assert!(gateway("HTTP", "").contains("SH7308"));
        assert!(!gateway("HTTPS", ", tls: {mode: SIMPLE, credentialName: a}").contains("SH7308"));
    }
}
