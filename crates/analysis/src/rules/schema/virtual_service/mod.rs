//! Validates a `VirtualService` as a whole. Source: `ValidateVirtualService`.

mod destination;
mod faults;
mod headers;
mod http;
mod layer4;
mod matches;
mod reachability;

pub(super) use destination::check as check_destination;
pub use reachability::{IST0130, IST0131};

use super::export_to;
use super::report::{At, IST0106, IST0133, Report};
use crate::syntax::{address, name};
use crate::{Check, Findings, Kind, Resource, Rule, Value, View};

pub static RULE: Rule = Rule {
    name: "schema.ValidationAnalyzer.VirtualService",
    codes: &[&IST0106, &IST0133, &IST0130, &IST0131],
    inputs: &[Kind::VirtualService],
    check: Check::Each(&[Kind::VirtualService], check),
};

/// Properties of the VirtualService that the validation of its routes needs.
struct Service<'a> {
    hosts: At<'a, 'a>,
    /// It has no hosts: it is a delegate of another VirtualService.
    is_delegate: bool,
    /// It is bound only to gateways, not to mesh.
    is_for_gateways: bool,
}

fn check(_: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let report = &mut Report::new(resource, findings);
    let spec = At::spec(resource);
    let gateways = spec.key("gateways");
    let has_gateways = !gateways.items().is_empty();
    let service = Service {
        hosts: spec.key("hosts"),
        is_delegate: spec.get("hosts").items().is_empty(),
        is_for_gateways: has_gateways && gateways.texts().all(|gateway| gateway != "mesh"),
    };
    if service.is_delegate {
        for key in ["gateways", "tls", "tcp"] {
            if spec.has(key) {
                report.error(
                    &spec.key(key),
                    "a VirtualService without hosts is a delegate, which does not support \
                                              this field",
                );
            }
        }
    }
    matches::check_gateways(&gateways, report);
    let (http, tls, tcp) = (spec.key("http"), spec.key("tls"), spec.key("tcp"));
    if !service.is_for_gateways {
        matches::check_no_claims(&http, report);
    }
    check_hosts(&service, &tls, report);
    if http.items().is_empty() && tls.items().is_empty() && tcp.items().is_empty() {
        report.error(&spec, "at least one of http, tls and tcp is required");
    }
    for route in http.each() {
        if route.is_null() {
            report.error(&route, "a route must not be null");
        } else {
            http::check(&route, service.is_delegate, report);
        }
    }
    for route in tls.each().filter(|route| route.is_set()) {
        layer4::check_tls(&route, &service, report);
    }
    for route in tcp.each().filter(|route| route.is_set()) {
        layer4::check_tcp(&route, report);
    }
    export_to::check(&spec.key("exportTo"), false, report);
    reachability::check(&http, report);
    reachability::check(&tcp, report);
    reachability::check(&tls, report);
}

fn check_hosts(service: &Service<'_>, tls: &At<'_, '_>, report: &mut Report<'_>) {
    let has_sni = tls
        .node()
        .items()
        .iter()
        .any(|route| route["match"].items().iter().any(|matching| !matching["sniHosts"].items().is_empty()));
    let mut all_valid = true;
    for host in service.hosts.each() {
        let result = if service.is_for_gateways && has_sni {
            check_sni_name(host.text())
        } else {
            name::check_wildcard(host.text())
        };
        match result {
            Err(_) if address::is_ip(host.text()) => {}
            Err(text) => {
                report.error(&host, text);
                all_valid = false;
            }
            Ok(()) if host.text() == "*" && !service.is_for_gateways => {
                report.error(&host, "`*` is allowed only for VirtualServices bound to gateways without mesh");
                all_valid = false;
            }
            Ok(()) => {}
        }
    }
    if all_valid {
        check_overlaps(service, report);
    }
}

/// Pairs of hosts that overlap. To limit the work, only equal hosts, and wildcards with all hosts, are compared.
fn check_overlaps(service: &Service<'_>, report: &mut Report<'_>) {
    let hosts: Vec<&str> = service.hosts.node().items().iter().map(Value::text).collect();
    let mut seen = std::collections::HashMap::new();
    let wildcards: Vec<usize> = (0..hosts.len()).filter(|at| name::is_wildcard(hosts[*at])).collect();
    for (at, host) in service.hosts.each().enumerate() {
        let equal = seen.insert(hosts[at], at);
        let others = wildcards.iter().copied().filter(|other| {
            let counted = *other < at || !name::is_wildcard(hosts[at]);
            counted && *other != at && hosts[*other] != hosts[at] && name::overlap(hosts[*other], hosts[at])
        });
        for other in equal.into_iter().chain(others) {
            report.error(&host, format_args!("hosts {:?} and {:?} overlap", hosts[other], hosts[at]));
        }
    }
}

/// A domain name, or the SNI form of a gateway with `AUTO_PASSTHROUGH`:
/// `outbound_.80_.v1_.reviews.shop.svc.cluster.local`.
fn check_sni_name(host: &str) -> Result<(), std::borrow::Cow<'static, str>> {
    if !host.starts_with("outbound_") {
        return name::check_wildcard(host);
    }
    let parts: Vec<&str> = host.split('_').collect();
    let port = parts.get(1).is_some_and(|port| port.contains(|c: char| c.is_ascii_digit()));
    let name = parts.get(3).is_some_and(|name| name.contains(|c: char| c.is_ascii_alphabetic()));
    if port && name && host.len() <= 255 {
        Ok(())
    } else {
        Err(format!("{host:?} must have the form `outbound_.PORT_.SUBSET_.HOST`").into())
    }
}
