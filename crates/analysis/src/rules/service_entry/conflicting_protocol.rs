//! Checks for a host and port with several protocols. Source: istio
//! `analyzers/serviceentry/conflictingserviceentries.go`.

use std::collections::{BTreeMap, BTreeSet};

use compact_str::CompactString;

use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "serviceentry.ConflictingServiceEntryProtocolAnalyzer",
    codes: &[&IST0177],
    inputs: &[Kind::ServiceEntry],
    check: Check::Once(check),
};

static IST0177: Code = Code {
    id: "IST0177",
    name: "ConflictingServiceEntryProtocol",
    level: Level::Warning,
    title: "ServiceEntries declare conflicting protocols for the same host and port",
    why: "Only one of them applies, and the age of the objects decides which one. Requests may be rejected, or routed \
          as plain TCP.",
    remedy: "Use the same protocol in all entries, or limit the entries with exportTo so that no namespace sees both.",
    source: "https://istio.io/latest/docs/reference/config/networking/service-entry/",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: one, namespace: shop}
spec: {hosts: [api.example.com], ports: [{name: web, number: 8443, protocol: HTTPS}], resolution: DNS}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: two, namespace: shop}
spec: {hosts: [api.example.com], ports: [{name: web, number: 8443, protocol: HTTP}], resolution: DNS}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: one, namespace: shop}
spec: {hosts: [api.example.com], ports: [{name: web, number: 8443, protocol: HTTPS}], resolution: DNS}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: two, namespace: shop}
spec: {hosts: [api.example.com], ports: [{name: web, number: 8443, protocol: HTTPS}], resolution: DNS}
",
    },
    also: &["KIA1212"],
};

/// Service entries by host and port number, then for each scope (`*` for all namespaces) with their protocols.
type Claims<'a> = BTreeMap<(&'a str, i64), BTreeMap<&'a str, Vec<(CompactString, &'a Resource, usize)>>>;

fn check(view: &View<'_>, findings: &mut Findings) {
    let mut claims = Claims::new();
    for entry in view.all(Kind::ServiceEntry) {
        let spec = entry.spec();
        let scopes = scopes(entry);
        for (index, port) in spec["ports"].items().iter().enumerate() {
            let Some(number) = port["number"].as_int() else { continue };
            let protocol = CompactString::from(port["protocol"].text().to_uppercase());
            for host in spec["hosts"].texts() {
                for scope in &scopes {
                    let of_port = claims.entry((host, number)).or_default();
                    of_port.entry(*scope).or_default().push((protocol.clone(), entry, index));
                }
            }
        }
    }
    let mut reported: BTreeSet<(&str, &str)> = BTreeSet::new();
    for ((host, number), by_scope) in &claims {
        let everywhere = by_scope.get("*").map_or(&[][..], Vec::as_slice);
        for (scope, claimants) in by_scope {
            let seen: Vec<_> = claimants.iter().chain(everywhere.iter().filter(|_| *scope != "*")).collect();
            let protocols: BTreeSet<&str> = seen.iter().map(|(protocol, ..)| protocol.as_str()).collect();
            if protocols.len() < 2 {
                continue;
            }
            let names: BTreeSet<String> = seen.iter().map(|(_, entry, _)| entry.full_name()).collect();
            let names = names.into_iter().collect::<Vec<_>>().join(", ");
            let shown = protocols.into_iter().map(|name| if name.is_empty() { "none" } else { name });
            let protocols = shown.collect::<Vec<_>>().join(", ");
            for (_, entry, index) in seen {
                if !reported.insert((&entry.namespace, &entry.name)) {
                    continue;
                }
                findings
                    .add(
                        &IST0177,
                        entry,
                        format!(
                            "port {number} of {host} has conflicting protocols {protocols} in \
                                                   {names}"
                        ),
                    )
                    .field(format!("spec.ports[{index}].protocol"))
                    .arguments([&names, *host, &number.to_string(), &protocols]);
            }
        }
    }
}

/// Namespaces to which the entry is visible; `*` for all.
fn scopes(entry: &Resource) -> BTreeSet<&str> {
    let exported = &entry.spec()["exportTo"];
    if exported.is_empty() || exported.texts().any(|scope| scope == "*") {
        return BTreeSet::from(["*"]);
    }
    exported.texts().map(|scope| if scope == "." { entry.namespace.as_str() } else { scope }).collect()
}
