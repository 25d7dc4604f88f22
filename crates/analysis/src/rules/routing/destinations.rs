//! Checks the weights and destinations of a route. Source: Kiali's checks KIA1104, KIA1105.

use crate::hosts::fqdn;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Value, View};

pub static RULE: Rule = Rule {
    name: "routing.Destinations",
    codes: &[&SH7114, &SH7115],
    inputs: &[Kind::VirtualService],
    check: Check::Each(&[Kind::VirtualService], check),
};

static SH7114: Code = Code {
    id: "SH7114",
    name: "WeightOfSingleDestination",
    level: Level::Warning,
    title: "Weight has no effect on a single destination",
    why: "A single destination receives all requests, whatever its weight.",
    remedy: "Remove the weight, or add the destination for the remaining traffic.",
    source: "https://kiali.io/docs/features/validations/#kia1104---the-weight-is-assumed-to-be-100-because-there-is-only-one-route-destination",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart]
  http:
  - route:
    - {destination: {host: cart, subset: v2}, weight: 10}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart]
  http:
  - route:
    - {destination: {host: cart, subset: v1}, weight: 90}
    - {destination: {host: cart, subset: v2}, weight: 10}
",
    },
    also: &["KIA1104"],
};

static SH7115: Code = Code {
    id: "SH7115",
    name: "DuplicateDestination",
    level: Level::Info,
    title: "Route lists the same destination twice",
    why: "The weights add up, so the destination receives more traffic than each entry states. Often another subset \
          was intended. Each VirtualService is reported once, for its first such route.",
    remedy: "Correct the subset of one entry, or merge the entries.",
    source: "https://kiali.io/docs/features/validations/#kia1105---this-host-subset-combination-is-already-referenced-in-another-route-destination",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart]
  http:
  - route:
    - {destination: {host: cart, subset: v1}, weight: 90}
    - {destination: {host: cart, subset: v1}, weight: 10}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart]
  http:
  - route:
    - {destination: {host: cart, subset: v1}, weight: 90}
    - {destination: {host: cart, subset: v2}, weight: 10}
",
    },
    also: &["KIA1105"],
};

fn check(_: &View<'_>, service: &Resource, findings: &mut Findings) {
    let mut twice = None;
    for kind in ["http", "tcp", "tls"] {
        for (index, route) in service.spec()[kind].items().iter().enumerate() {
            let destinations = route["route"].items();
            if let [only] = destinations
                && let Some(weight @ 1..=99) = only["weight"].as_int()
            {
                let host = only.at("destination.host").text();
                let message = format!("{host} is the only destination: it receives all requests, not {weight}%");
                findings
                    .add(&SH7114, service, message)
                    .field(format!("spec.{kind}[{index}].route[0].weight"))
                    .arguments([host, &weight.to_string()]);
            }
            if twice.is_none() {
                twice = destination_twice(service, destinations).map(|(at, message, arguments)| {
                    (format!("spec.{kind}[{index}].route[{at}].destination.host"), message, arguments)
                });
            }
        }
    }
    if let Some((field, message, arguments)) = twice {
        findings.add(&SH7115, service, message).field(field).arguments(arguments);
    }
}

/// The first entry that repeats an earlier one, for the message and as arguments.
fn destination_twice(service: &Resource, destinations: &[Value]) -> Option<(usize, String, [String; 2])> {
    for (at, entry) in destinations.iter().enumerate().skip(1) {
        let this = key(entry, &service.namespace);
        // A route has few destinations, so each pair is compared. Other headers make another destination.
        if destinations[..at]
            .iter()
            .any(|other| key(other, &service.namespace) == this && other["headers"] == entry["headers"])
        {
            let (host, subset, _) = this;
            let named = if subset.is_empty() { String::new() } else { format!(", subset {subset},") };
            let message = format!("{host}{named} is already a destination of this route");
            return Some((at, message, [host.into_owned(), subset.to_owned()]));
        }
    }
    None
}

fn key<'a>(entry: &'a Value, namespace: &str) -> (std::borrow::Cow<'a, str>, &'a str, Option<i64>) {
    let destination = &entry["destination"];
    let host = fqdn(destination["host"].text(), namespace);
    (host, destination["subset"].text(), destination.at("port.number").as_int())
}
