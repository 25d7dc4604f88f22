//! Checks for Gateways that claim the same host and port on the same workload. Source: istio
//! `analyzers/gateway/conflictinggateway.go`.
//!
//! Differs from istioctl: the result does not depend on the order of the objects, and ports are always compared
//! (istio/istio#52413, #53973, #54643); all servers of a port count; `./host` and `*/host` are resolved; two selectors
//! conflict if a workload has the labels of both.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::rules::support::common_codes::IST0101;
use crate::rules::support::completeness;
use crate::{
    Check, Code, Example, Findings, KeyIndex, Keys, Kind, Level, Resource, Rule, Selector, Value, View, Within,
};

pub static RULE: Rule = Rule {
    name: "gateway.ConflictingGatewayAnalyzer",
    codes: &[&IST0145, &IST0101],
    inputs: &[
        Kind::Gateway,
        Kind::Namespace,
        Kind::MeshConfig,
        Kind::Pod,
        Kind::Deployment,
        Kind::StatefulSet,
        Kind::DaemonSet,
        Kind::Job,
        Kind::CronJob,
    ],
    check: Check::Each(&[Kind::Gateway], check),
};

static IST0145: Code = Code {
    id: "IST0145",
    name: "ConflictingGateways",
    level: Level::Error,
    title: "Conflicting Gateways: several claim the same host and port on the same workload",
    why: "Only the server of the oldest Gateway applies. The others, or their TLS settings, are ignored.",
    remedy: "Merge the Gateways, or give each its own hosts or port.",
    source: "https://istio.io/latest/docs/reference/config/networking/gateway/",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: one, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {name: http, number: 80, protocol: HTTP}, hosts: [shop.example.com]}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: two, namespace: other}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {name: http, number: 80, protocol: HTTP}, hosts: [shop.example.com]}]
",
        after: "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: one, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {name: http, number: 80, protocol: HTTP}, hosts: [shop.example.com]}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: two, namespace: other}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {name: http, number: 80, protocol: HTTP}, hosts: [other.example.com]}]
",
    },
    also: &["KIA0301"],
};

/// Gateways that a message lists; the rest is counted.
const SHOWN: usize = 10;

static BY_HOST: KeyIndex = KeyIndex { name: "gateways by port, bind and host", kinds: &[Kind::Gateway], keys: by_host };

fn by_host(gateway: &Resource, keys: &mut Keys<'_>) {
    for server in gateway.spec()["servers"].items() {
        for key in server_keys(gateway, server) {
            keys.add(&[&key.0, key.1, key.2, key.3]);
        }
    }
}

/// Port, bind address, the namespace to which a host is limited, and the host.
fn server_keys<'a>(
    gateway: &'a Resource,
    server: &'a Value,
) -> impl Iterator<Item = (compact_str::CompactString, &'a str, &'a str, &'a str)> {
    let number = server.at("port.number").scalar_text();
    let bind = server["bind"].text();
    // A server without a port is invalid and has a finding of its own.
    let hosts = if number.is_empty() { &[] } else { server["hosts"].items() };
    hosts.iter().map(move |host| {
        let (namespace, host) = match host.text().split_once('/') {
            Some((".", host)) => (gateway.namespace.as_str(), host),
            Some((namespace, host)) => (namespace, host),
            None => ("*", host.text()),
        };
        (number.clone(), bind, namespace, host)
    })
}

fn check(view: &View<'_>, gateway: &Resource, findings: &mut Findings) {
    let selector = Selector::new(&gateway.spec()["selector"]);
    let servers = gateway.spec()["servers"].items();
    if servers.is_empty()
        && !selector.is_empty()
        && completeness::knows_gateways(view, gateway, &selector)
        && !view.has_workload(Within::Anywhere, &selector)
    {
        tell_unselected(gateway, &selector, findings);
    }
    let mut shared: BTreeMap<(&str, &str, &str), bool> = BTreeMap::new();
    for (index, server) in servers.iter().enumerate() {
        let mut conflicting: BTreeMap<(&str, &str), &Arc<Resource>> = BTreeMap::new();
        for key in server_keys(gateway, server) {
            for other in view.lookup(&BY_HOST, &[&key.0, key.1, key.2, key.3]) {
                let name = (other.namespace.as_str(), other.name.as_str());
                if name == (gateway.namespace.as_str(), gateway.name.as_str()) || other.cluster != gateway.cluster {
                    continue;
                }
                let is_one_proxy = || share_workloads(view, &selector, &Selector::new(&other.spec()["selector"]));
                if *shared.entry((&other.cluster, name.0, name.1)).or_insert_with(is_one_proxy) {
                    conflicting.insert(name, other);
                }
            }
        }
        if !conflicting.is_empty() {
            add_finding(gateway, &selector, (index, server), &conflicting, findings);
        }
    }
}

fn share_workloads(view: &View<'_>, a: &Selector<'_>, b: &Selector<'_>) -> bool {
    if a == b {
        return true;
    }
    let both = a.and(b);
    let is_possible = a.pairs().iter().all(|pair| both.pairs().contains(pair));
    is_possible && view.has_workload(Within::Anywhere, &both)
}

fn add_finding(
    gateway: &Resource,
    selector: &Selector<'_>,
    (index, server): (usize, &Value),
    conflicting: &BTreeMap<(&str, &str), &Arc<Resource>>,
    findings: &mut Findings,
) {
    let names: Vec<String> = conflicting.values().take(SHOWN).map(|other| other.full_name()).collect();
    let more = conflicting.len() - names.len();
    let mut names = names.join(",");
    if more > 0 {
        names = format!("{names},… ({more} more)");
    }
    let port = server.at("port.number").scalar_text();
    let hosts = server["hosts"].texts().collect::<Vec<_>>().join(",");
    let finding = findings
        .add(&IST0145, gateway, format!("port {port} with hosts {hosts} conflicts with {names}"))
        .field(format!("spec.servers[{index}].hosts"))
        .arguments([&names, &selector.to_string(), port.as_str(), &hosts]);
    for other in conflicting.values().take(SHOWN) {
        finding.related(other);
    }
}

/// Message for a gateway selector that matches no workload; three rules report it.
pub fn tell_unselected(gateway: &Resource, selector: &Selector<'_>, findings: &mut Findings) {
    let selector = selector.to_string();
    findings
        .add(&IST0101, gateway, format!("selector {selector} matches no workload"))
        .field("spec.selector")
        .arguments(["selector", &selector]);
}
