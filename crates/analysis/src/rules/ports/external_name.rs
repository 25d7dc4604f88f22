//! Checks for `ExternalName` services whose TCP port captures unrelated traffic. Source: istio.io, traffic routing,
//! "Unmatched traffic" and TCP services without an address: they listen on all addresses.

use super::protocol::{WireProtocol, wire_protocol};
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "ports.ExternalName",
    codes: &[&SH7313],
    inputs: &[Kind::Service],
    check: Check::Each(&[Kind::Service], check),
};

static SH7313: Code = Code {
    id: "SH7313",
    name: "TcpExternalName",
    level: Level::Info,
    title: "ExternalName service has a TCP port",
    why: "The service has no address to distinguish its connections, so proxies route all outbound connections on \
          this port to it, whatever their destination.",
    remedy: "Use a ServiceEntry with addresses, or declare the port as HTTP or TLS, which are routed by host.",
    source: "https://istio.io/latest/docs/ops/configuration/traffic-management/traffic-routing/",
    example: Example {
        before: "\
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec:
  type: ExternalName
  externalName: db.example.com
  ports: [{name: tcp-db, port: 5432}]
",
        after: "\
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec:
  type: ExternalName
  externalName: db.example.com
  ports: [{name: tls-db, port: 5432}]
",
    },
    also: &[],
};

fn check(_: &View<'_>, service: &Resource, findings: &mut Findings) {
    if service.spec()["type"].text() != "ExternalName" {
        return;
    }
    for (index, port) in service.spec()["ports"].items().iter().enumerate() {
        // IST0150 reports a port whose name is tcp or missing.
        if wire_protocol(service, port) == WireProtocol::Other
            && port["name"].text() != "tcp"
            && port["protocol"].text() != "UDP"
        {
            let number = port["port"].scalar_text();
            let message = format!("{} captures all outbound connections on port {number}", service.name);
            findings.add(&SH7313, service, message).field(format!("spec.ports[{index}].name")).arguments([number]);
        }
    }
}
