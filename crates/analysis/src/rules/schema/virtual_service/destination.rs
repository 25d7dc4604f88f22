//! Validates the destinations of a route. Source: `validateDestination`, `validateHTTPRouteDestinations`,
//! `validateRouteDestinations`.

use super::super::destination_rule;
use super::super::report::{At, Report};
use super::headers;
use crate::syntax::name;

/// `host`, `subset`, `port`. Also validates the destination in a Sidecar.
pub(in super::super) fn check(destination: &At<'_, '_>, report: &mut Report<'_>) {
    if destination.is_null() {
        return;
    }
    let host = destination.key("host");
    if host.text() == "*" {
        report.error(&host, "`*` is not allowed as a destination host");
    } else {
        report.check(&host, name::check_wildcard(host.text()));
    }
    let subset = destination.key("subset");
    if !subset.is_empty() {
        destination_rule::check_name(&subset, report);
    }
    let port = destination.key("port");
    if port.is_set() {
        report.port(&port.key("number"));
    }
}

/// An HTTP destination, with headers.
pub(super) fn check_http(routes: &At<'_, '_>, report: &mut Report<'_>) {
    for route in routes.each() {
        headers::check_operations(&route.key("headers"), report);
    }
    check_all(routes, report);
}

pub(super) fn check_all(routes: &At<'_, '_>, report: &mut Report<'_>) {
    let mut total: i64 = 0;
    for route in routes.each() {
        let destination = route.key("destination");
        if destination.is_null() {
            report.error(&route, "destination is required");
        }
        check(&destination, report);
        let weight = route.key("weight");
        report.not_negative(&weight);
        total = total.saturating_add(weight.int());
    }
    if routes.items().len() > 1 && total == 0 {
        report.error(routes, "at least one of several destinations requires a weight above 0");
    }
}
