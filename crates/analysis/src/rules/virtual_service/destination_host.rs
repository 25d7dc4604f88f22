//! Routes to hosts and ports that are not there, and rules of a host that gateways pass by. Source: istio
//! `analyzers/virtualservice/destinationhosts.go`.
//!
//! Differs from istioctl: of several providers of a host the ports of all count; nothing is told where the services of
//! the host's namespace are not among the objects; a service that is exported elsewhere is there for a VirtualService of its
//! own namespace that is exported to all (istio/istio#39629); hosts are compared in their full form (IST0140), rules that do not hold in the mesh are not passed by
//! (istio/istio#58559), and a
//! `VirtualService` does not pass by its own rules.

use super::route::{Destination, destinations};
use crate::rules::bound::gateways;
use crate::rules::shared::IST0101;
use crate::rules::{meant, scope};
use crate::{Check, Code, Example, Findings, KeyIndex, Kind, Level, Resource, Rule, View, hosts};

/// The rule.
pub static RULE: Rule = Rule {
    name: "virtualservice.DestinationHostAnalyzer",
    codes: &[&IST0101, &IST0112, &IST0140],
    reads: &[Kind::VirtualService, Kind::Service, Kind::ServiceEntry, Kind::Namespace, Kind::MeshConfig],
    check: Check::Each(&[Kind::VirtualService], check),
};

static IST0112: Code = Code {
    id: "IST0112",
    name: "VirtualServiceDestinationPortSelectorRequired",
    level: Level::Error,
    title: "A destination with several ports is named without a port",
    why: "Istio does not choose one: the route leads nowhere, and requests fail.",
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
    title: "What comes through a gateway passes by the rules of the host it is sent to",
    why: "The rules of a host hold for clients in the mesh. A gateway that routes to the host goes to its pods directly, \
          so that all subsets are reached.",
    remedy: "Name the subset in the gateway's route too, or bind the other VirtualService to the gateway.",
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

/// Those that hold in the mesh and send a host of their own to a subset of it.
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
        if !(is_for_all && is_own) && (scope::knows_host(view, &full, host) || meant::is_short(view, host)) {
            let what = if destination.is_mirror { "mirror host" } else { "host" };
            let hint = meant::host(view, host, &service.namespace);
            findings
                .add(&IST0101, service, format!("no service that this namespace sees has the {what} {full}{hint}"))
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
                .add(&IST0112, service, format!("{host} has the ports {listed}, and none is named"))
                .field(format!("{field}.host"))
                .arguments([host, &listed]);
        }
    } else if port["number"].as_int().is_none_or(|number| !ports.contains(&number)) {
        let number = port["number"].scalar_text();
        findings
            .add(&IST0101, service, format!("{host} has no port {number}"))
            .field(format!("{field}.port.number"))
            .arguments(["host:port", &format!("{host}:{number}")]);
    }
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
                let message =
                    format!("the rules of {} for {host} do not hold for what comes this way", other.full_name());
                findings
                    .add(&IST0140, service, message)
                    .field(format!("spec.http[{index}].route[{at}].destination.host"))
                    .arguments([other.full_name(), service.full_name()])
                    .related(other);
            }
        }
    }
}
