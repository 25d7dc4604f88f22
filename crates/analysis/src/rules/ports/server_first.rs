//! Checks for server-first protocols declared as HTTP. Source: istio.io, application requirements, "Server first
//! protocols". IST0118 reports ports that declare nothing.

use super::protocol::{WireProtocol, number, wire_protocol};
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "ports.ServerFirst",
    codes: &[&SH7310],
    inputs: &[Kind::Service, Kind::ServiceEntry],
    check: Check::Each(&[Kind::Service, Kind::ServiceEntry], check),
};

static SH7310: Code = Code {
    id: "SH7310",
    name: "ServerFirstAsHttp",
    level: Level::Warning,
    title: "Port of a server-first protocol is declared as HTTP",
    why: "The proxy waits for a request from the client while the client waits for the server's greeting, so \
          connections hang until they time out.",
    remedy: "Name the port tcp or mysql (or set appProtocol).",
    source: "https://istio.io/latest/docs/ops/deployment/application-requirements/#server-first-protocols",
    example: Example {
        before: "\
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {ports: [{name: http-db, port: 3306}]}
",
        after: "\
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {ports: [{name: mysql-db, port: 3306}]}
",
    },
    also: &[],
};

const SERVER_FIRST: [(i64, &str); 8] = [
    (21, "FTP"),
    (22, "SSH"),
    (25, "SMTP"),
    (110, "POP3"),
    (143, "IMAP"),
    (587, "SMTP"),
    (3306, "MySQL"),
    (33060, "MySQL"),
];

fn check(_: &View<'_>, provider: &Resource, findings: &mut Findings) {
    for (index, port) in provider.spec()["ports"].items().iter().enumerate() {
        let number = number(provider, port);
        let Some((number, usual)) = SERVER_FIRST.iter().find(|(known, _)| Some(*known) == number) else { continue };
        if wire_protocol(provider, port) == WireProtocol::Http {
            let message =
                format!("port {number} of {} is declared as HTTP, but its usual protocol is {usual}", provider.name);
            findings
                .add(&SH7310, provider, message)
                .field(format!("spec.ports[{index}].name"))
                .arguments([&number.to_string(), *usual]);
        }
    }
}
