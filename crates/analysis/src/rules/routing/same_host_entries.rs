//! Checks for service entries that claim the same host and port. Source: Kiali's check KIA1211.

use crate::hosts::scopes;
use crate::{Check, Code, Example, Findings, KeyIndex, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "routing.SameHostEntries",
    codes: &[&SH7117],
    inputs: &[Kind::ServiceEntry],
    check: Check::Each(&[Kind::ServiceEntry], check),
};

static SH7117: Code = Code {
    id: "SH7117",
    name: "DuplicateServiceEntryHost",
    level: Level::Info,
    title: "ServiceEntries define the same host and port",
    why: "The client's namespace and the age of the entries decide which one applies, so resolution or location may \
          come from the other entry.",
    remedy: "Use one ServiceEntry for each host, in the namespace that owns it, or limit both with exportTo.",
    source: "https://kiali.io/docs/features/validations/",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: shop}
spec:
  hosts: [api.example.com]
  ports: [{number: 443, name: tls, protocol: TLS}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: example, namespace: billing}
spec:
  hosts: [api.example.com]
  ports: [{number: 443, name: tls, protocol: TLS}]
  resolution: NONE
",
        after: "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: shop}
spec:
  hosts: [api.example.com]
  exportTo: [.]
  ports: [{number: 443, name: tls, protocol: TLS}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: example, namespace: billing}
spec:
  hosts: [api.example.com]
  exportTo: [.]
  ports: [{number: 443, name: tls, protocol: TLS}]
  resolution: NONE
",
    },
    also: &["KIA1211"],
};

static BY_HOST: KeyIndex = KeyIndex {
    name: "service entries by scope, host and port",
    kinds: &[Kind::ServiceEntry],
    keys: |entry, keys| {
        for scope in scopes(entry) {
            for host in entry.spec()["hosts"].texts() {
                for port in entry.spec()["ports"].items() {
                    keys.add(&[scope, host, &port["number"].scalar_text()]);
                }
            }
        }
    },
};

fn check(view: &View<'_>, entry: &Resource, findings: &mut Findings) {
    let spec = entry.spec();
    for (at, host) in spec["hosts"].texts().enumerate() {
        for port in spec["ports"].items() {
            let number = port["number"].scalar_text();
            let protocol = port["protocol"].text();
            let other = scopes(entry).into_iter().find_map(|scope| {
                view.lookup(&BY_HOST, &[scope, host, &number])
                    .iter()
                    .find(|other| is_rival(entry, other, &number, protocol))
            });
            let Some(other) = other else { continue };
            let message = format!("{} also defines {host}, port {number}, with other settings", other.full_name());
            findings
                .add(&SH7117, entry, message)
                .field(format!("spec.hosts[{at}]"))
                .arguments([host, &number, &other.full_name()])
                .related(other);
            // One finding for each pair, whatever the number of ports.
            break;
        }
    }
}

/// Another entry that would behave differently. IST0177 reports another protocol. Equal entries in one namespace add
/// endpoints to each other, which is supported.
fn is_rival(entry: &Resource, other: &Resource, number: &str, protocol: &str) -> bool {
    let fields = ["resolution", "location", "addresses", "subjectAltNames"];
    let same_protocol = other.spec()["ports"]
        .items()
        .iter()
        .any(|port| port["number"].scalar_text() == number && port["protocol"].text().eq_ignore_ascii_case(protocol));
    (other.name != entry.name || other.namespace != entry.namespace)
        && other.cluster == entry.cluster
        && same_protocol
        && fields.iter().any(|field| other.spec()[*field] != entry.spec()[*field])
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn entries_that_add_endpoints_do_not_conflict() {
        let alike = super::SH7117.example.before.replace("resolution: NONE", "resolution: DNS");
        assert!(!reported(&alike).contains("SH7117"));
    }
}
