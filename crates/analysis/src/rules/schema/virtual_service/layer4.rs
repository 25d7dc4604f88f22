//! Validates TLS and TCP routes. Source: `validateTLSRoute`, `validateTCPRoute`.

use super::super::report::{At, Report};
use super::{Service, check_sni_name, destination, matches};
use crate::syntax::{address, name};

pub(super) fn check_tls(route: &At<'_, '_>, service: &Service<'_>, report: &mut Report<'_>) {
    let conditions = route.key("match");
    if conditions.items().is_empty() {
        report.error(route, "at least one match with sniHosts is required");
    }
    for matching in conditions.each() {
        let hosts = matching.key("sniHosts");
        if matching.is_null() {
            report.error(&matching, "a match must not be null");
            continue;
        }
        if hosts.items().is_empty() {
            report.error(&matching, "at least one SNI host is required");
        }
        for host in hosts.each() {
            check_sni_host(&host, service, report);
        }
        check_subnets(&matching, report);
        matches::check_source(&matching, report);
    }
    check_destinations(route, report);
}

pub(super) fn check_tcp(route: &At<'_, '_>, report: &mut Report<'_>) {
    for matching in route.key("match").each() {
        if matching.is_null() {
            report.error(&matching, "a match must not be null");
            continue;
        }
        check_subnets(&matching, report);
        matches::check_source(&matching, report);
    }
    check_destinations(route, report);
}

fn check_subnets(matching: &At<'_, '_>, report: &mut Report<'_>) {
    for subnet in matching.key("destinationSubnets").each() {
        report.ip_or_block(&subnet);
    }
}

fn check_destinations(route: &At<'_, '_>, report: &mut Report<'_>) {
    let destinations = route.key("route");
    if destinations.items().is_empty() {
        report.error(route, "route is required");
    }
    destination::check_all(&destinations, report);
}

fn check_sni_host(host: &At<'_, '_>, service: &Service<'_>, report: &mut Report<'_>) {
    let text = host.text();
    let result = if service.is_for_gateways { check_sni_name(text) } else { name::check_wildcard(text) };
    if let Err(why) = result {
        if address::is_ip(text) {
            report.warning(host, "clients do not send IP addresses as SNI (RFC 6066), so this match rarely applies");
        } else {
            report.error(host, why);
        }
        return;
    }
    let hosts: Vec<&str> = service.hosts.node().texts().collect();
    if !hosts.iter().any(|whole| name::is_within(text, whole)) {
        report.error(
            host,
            format_args!("{text:?} is not covered by the hosts of this VirtualService: {}", hosts.join(", ")),
        );
    }
}
