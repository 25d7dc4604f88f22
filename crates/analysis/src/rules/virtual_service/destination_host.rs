//! Checks for routes to hosts and ports that do not exist, and for gateway routes that ignore a host's mesh rules.
//! Source: istio `analyzers/virtualservice/destinationhosts.go`.
//!
//! Differs from istioctl: if several services provide a host, the ports of all of them count; nothing is reported if
//! the services of the host's namespace are not among the objects; a service exported to other namespaces counts for a
//! VirtualService in its own namespace that is exported to all (istio/istio#39629). For IST0140, hosts are compared in
//! fully qualified form, only rules bound to mesh count (istio/istio#58559), and the rules of the `VirtualService`
//! itself do not count.

use super::route::{Destination, destinations};
use crate::rules::support::common_codes::IST0101;
use crate::rules::support::gateway_binding::gateways;
use crate::rules::support::{completeness, suggest};
use crate::{Check, Code, Example, Findings, KeyIndex, Kind, Level, Resource, Rule, View, hosts};

pub static RULE: Rule = Rule {
    name: "virtualservice.DestinationHostAnalyzer",
    codes: &[&IST0101, &IST0112, &IST0140],
    inputs: &[Kind::VirtualService, Kind::Service, Kind::ServiceEntry, Kind::Namespace, Kind::MeshConfig],
    check: Check::Each(&[Kind::VirtualService], check),
};

static IST0112: Code = Code {
    id: "IST0112",
    name: "VirtualServiceDestinationPortSelectorRequired",
    level: Level::Error,
    title: "Destination of a multi-port service has no port",
    why: "Istio does not choose a port, so requests to this destination fail.",
    remedy: "Set destination.port.number.",
    source: "https://istio.io/latest/docs/reference/config/networking/virtual-service/#Destination",
    example: Example {
        before: "\
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{name: http, port: 80}, {name: grpc, port: 81}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec: {hosts: [cart], http: [{route: [{destination: {host: cart}}]}]}
",
        after: "\
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{name: http, port: 80}, {name: grpc, port: 81}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec: {hosts: [cart], http: [{route: [{destination: {host: cart, port: {number: 80}}}]}]}
",
    },
    also: &[],
};

static IST0140: Code = Code {
    id: "IST0140",
    name: "IngressRouteRulesNotAffected",
    level: Level::Warning,
    title: "VirtualService rules do not apply to traffic routed through the gateway",
    why: "The host has another VirtualService for clients in the mesh. A gateway sends requests directly to the pods \
          of the host, so its subset routes are ignored and all subsets receive traffic.",
    remedy: "Set the subset in the gateway's route too, or bind the other VirtualService to the gateway.",
    source: "https://istio.io/latest/docs/ops/common-problems/network-issues/#route-rules-have-no-effect-on-ingress-gateway-requests",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: outside, namespace: shop}
spec: {hosts: [shop.example.com], gateways: [web], http: [{route: [{destination: {host: cart}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: inside, namespace: shop}
spec: {hosts: [cart], http: [{route: [{destination: {host: cart, subset: v1}}]}]}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: outside, namespace: shop}
spec: {hosts: [shop.example.com], gateways: [web], http: [{route: [{destination: {host: cart, subset: v1}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: inside, namespace: shop}
spec: {hosts: [cart], http: [{route: [{destination: {host: cart, subset: v1}}]}]}
",
    },
    also: &[],
};

/// `VirtualService`s bound to mesh that route one of their own hosts to a subset of it.
static BY_OWN_SUBSETS: KeyIndex = KeyIndex {
    name: "virtual services by hosts they have subsets of",
    kinds: &[Kind::VirtualService],
    keys: |service, keys| {
        if !gateways(service).any(|gateway| gateway == "mesh") {
            return;
        }
        let full = |host| hosts::fqdn(host, &service.namespace);
        for rule in service.spec()["http"].items() {
            for route in rule["route"].items() {
                let destination = &route["destination"];
                let host = full(destination["host"].text());
                let is_own = || service.spec()["hosts"].texts().any(|own| full(own) == host);
                if !destination["subset"].text().is_empty() && is_own() {
                    keys.add(&[&host]);
                }
            }
        }
    },
};

fn check(view: &View<'_>, service: &Resource, findings: &mut Findings) {
    for destination in destinations(service) {
        check_host(view, service, &destination, findings);
    }
    if gateways(service).any(|gateway| gateway != "mesh") {
        check_rules_passed_by(view, service, findings);
    }
}

fn check_host(view: &View<'_>, service: &Resource, destination: &Destination<'_>, findings: &mut Findings) {
    let host = destination.node["host"].text();
    let field = &destination.field;
    let providers = view.providers(service, host);
    if providers.is_empty() {
        let full = hosts::fqdn(host, &service.namespace);
        let is_for_all = service.spec()["exportTo"].is_empty();
        let is_own = hosts::service_of(&full).is_some_and(|(namespace, name)| {
            namespace == service.namespace && view.has_named(Kind::Service, namespace, name)
        });
        if !(is_for_all && is_own) && (completeness::knows_host(view, &full, host) || suggest::is_short(view, host)) {
            let what = if destination.is_mirror { "mirror host" } else { "host" };
            let hint = suggest::host(view, host, &service.namespace);
            findings
                .add(&IST0101, service, format!("{what} {full} matches no service visible to this namespace{hint}"))
                .field(format!("{field}.host"))
                .arguments([what, host]);
        }
        return;
    }
    let mut ports: Vec<i64> =
        providers.iter().flat_map(|provider| hosts::ports(provider)).map(|(number, _)| number).collect();
    ports.sort_unstable();
    ports.dedup();
    let port = &destination.node["port"];
    if port.is_null() {
        if ports.len() > 1 {
            let listed = ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            findings
                .add(&IST0112, service, format!("{host} has the ports {listed}, but the destination sets no port"))
                .field(format!("{field}.host"))
                .arguments([host, &listed]);
        }
    } else if providers.iter().all(|provider| !has_unknown_ports(provider))
        && port["number"].as_int().is_none_or(|number| !ports.contains(&number))
    {
        let number = port["number"].scalar_text();
        findings
            .add(&IST0101, service, format!("{host} has no port {number}"))
            .field(format!("{field}.port.number"))
            .arguments(["host:port", &format!("{host}:{number}")]);
    }
}

/// Whether istiod deploys it for a Gateway to which `ListenerSet`s may add ports.
fn has_unknown_ports(service: &Resource) -> bool {
    service.is_generated && service.spec()["ports"].is_empty()
}

fn check_rules_passed_by(view: &View<'_>, service: &Resource, findings: &mut Findings) {
    for (index, rule) in service.spec()["http"].items().iter().enumerate() {
        for (at, route) in rule["route"].items().iter().enumerate() {
            let destination = &route["destination"];
            if !destination["subset"].text().is_empty() {
                continue;
            }
            let host = hosts::fqdn(destination["host"].text(), &service.namespace);
            for other in view.lookup(&BY_OWN_SUBSETS, &[&host]) {
                if (&other.namespace, &other.name) == (&service.namespace, &service.name) {
                    continue;
                }
                let message = format!("the rules of {} for {host} do not apply to this route", other.full_name());
                findings
                    .add(&IST0140, service, message)
                    .field(format!("spec.http[{index}].route[{at}].destination.host"))
                    .arguments([other.full_name(), service.full_name()])
                    .related(other);
            }
        }
    }
}
