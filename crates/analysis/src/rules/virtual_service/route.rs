//! Lists the destinations of a `VirtualService`. Contains no rule.

use crate::{Resource, Value};

/// One destination.
pub struct Destination<'a> {
    /// Value of `destination`.
    pub node: &'a Value,
    /// Its path.
    pub field: String,
    /// Whether it is a mirror.
    pub is_mirror: bool,
}

/// All destinations: of TCP, TLS and HTTP routes, then mirrors.
pub fn destinations(service: &Resource) -> Vec<Destination<'_>> {
    let spec = service.spec();
    let mut found = Vec::new();
    for protocol in ["tcp", "tls", "http"] {
        for (index, rule) in spec[protocol].items().iter().enumerate() {
            for (at, route) in rule["route"].items().iter().enumerate() {
                let field = format!("spec.{protocol}[{index}].route[{at}].destination");
                found.push(Destination { node: &route["destination"], field, is_mirror: false });
            }
        }
    }
    for (index, rule) in spec["http"].items().iter().enumerate() {
        if rule["mirror"].is_set() {
            let field = format!("spec.http[{index}].mirror");
            found.push(Destination { node: &rule["mirror"], field, is_mirror: true });
        }
        for (at, mirror) in rule["mirrors"].items().iter().enumerate() {
            let field = format!("spec.http[{index}].mirrors[{at}].destination");
            found.push(Destination { node: &mirror["destination"], field, is_mirror: true });
        }
    }
    found
}
