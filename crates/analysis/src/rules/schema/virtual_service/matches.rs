//! Validates the match conditions of routes. Source: `validateHTTPRouteMatchRequest`, `validateStringMatch`,
//! `validateGatewayNames`.

use super::super::report::{At, Report};
use super::headers;
use crate::Value;
use crate::syntax::{name, re2};

/// Envoy limits the compiled size of an expression; Istio limits its length, characters.
const REGEX: usize = 1024;

pub(super) fn check_http(matching: &At<'_, '_>, report: &mut Report<'_>) {
    if matching.is_null() {
        return;
    }
    for (name, value) in matching.key("headers").each_entry() {
        if value.is_null() {
            report.error(&value, "a header match must not be null; use `{}` to match the presence of the header");
        }
        headers::check_match_name(&value, name, report);
        check_string(&value, report);
    }
    for (name, value) in matching.key("withoutHeaders").each_entry() {
        headers::check_match_name(&value, name, report);
        // `*` matches the presence of a value and is not a regular expression.
        if value.get("regex").text() != "*" {
            check_string(&value, report);
        }
    }
    // An empty prefix of a path matches every path; Envoy rejects an empty prefix of any other attribute.
    check_regex_of(&matching.key("uri"), report);
    for key in ["scheme", "method", "authority"] {
        check_string(&matching.key(key), report);
    }
    for (_, value) in matching.key("queryParams").each_entry() {
        check_string(&value, report);
    }
    check_source(matching, report);
    let namespace = matching.key("sourceNamespace");
    if !namespace.is_empty() && !name::is_label(namespace.text()) {
        report.error(&namespace, format_args!("{:?} is not a namespace", namespace.text()));
    }
}

/// Port, labels and gateways, which matches of all protocols have.
pub(super) fn check_source(matching: &At<'_, '_>, report: &mut Report<'_>) {
    if matching.has("port") {
        report.port(&matching.key("port"));
    }
    report.labels(&matching.key("sourceLabels"));
    check_gateways(&matching.key("gateways"), report);
}

/// `exact`, `prefix` or `regex`.
fn check_string(matching: &At<'_, '_>, report: &mut Report<'_>) {
    let prefix = matching.key("prefix");
    if prefix.is_set() && prefix.text().is_empty() {
        report.error(&prefix, "Envoy rejects an empty prefix here");
    }
    check_regex_of(matching, report);
}

/// Validates only the regular expression, if there is one.
pub(super) fn check_regex_of(matching: &At<'_, '_>, report: &mut Report<'_>) {
    let regex = matching.key("regex");
    if regex.is_set() {
        check_regex(&regex, report);
    }
}

pub(super) fn check_regex(regex: &At<'_, '_>, report: &mut Report<'_>) {
    let text = regex.text();
    if text.is_empty() {
        report.error(regex, "the regular expression must not be empty");
    } else if text.len() > REGEX {
        report.error(regex, format_args!("the regular expression is longer than {REGEX} characters"));
    } else if let Err(why) = re2::check(text) {
        report.error(regex, format_args!("{text:?} is not a valid RE2 expression: {why}"));
    }
}

/// `namespace/name`, `name` or, deprecated, `name.namespace.svc.cluster.local`.
pub(super) fn check_gateways(gateways: &At<'_, '_>, report: &mut Report<'_>) {
    for gateway in gateways.each() {
        let text = gateway.text();
        let Some((namespace, name)) = text.split_once('/') else {
            if text.contains('.') {
                let mut parts = text.split('.');
                let (name, namespace) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                report.warning(&gateway, format_args!("the form of {text:?} is deprecated; use `{namespace}/{name}`"));
            }
            report.check(&gateway, name::check_fqdn(text));
            continue;
        };
        if namespace.is_empty() || name.is_empty() {
            report.error(&gateway, "both the namespace and the name are required, as in `namespace/name`");
        }
        for part in [namespace, name] {
            if !part.is_empty() && !name::is_label(part) {
                report.error(&gateway, format_args!("{part:?} is not a valid name of a namespace or Gateway"));
            }
        }
    }
}

/// JWT claims are available only at gateways.
pub(super) fn check_no_claims(routes: &At<'_, '_>, report: &mut Report<'_>) {
    for route in routes.each() {
        for matching in route.key("match").each() {
            for key in ["headers", "withoutHeaders"] {
                for (name, value) in matching.key(key).each_entry().filter(|(name, _)| is_claim(name)) {
                    let text = format!("{name} routes by a JWT claim, which requires `gateways` without mesh");
                    report.error(&value, text);
                }
            }
        }
    }
}

/// `@request.auth.claims.x` or `@request.auth.claims[x]`. Source: `pkg/jwt/routing.go`.
pub(super) fn is_claim(header: &str) -> bool {
    const PREFIX: &str = "@request.auth.claims";
    let Some((prefix, rest)) = header.split_at_checked(PREFIX.len()) else { return false };
    let dotted = rest.starts_with('.') && rest.len() > 1;
    let bracketed = rest.starts_with('[') && rest.ends_with(']') && rest.len() > 2;
    prefix.eq_ignore_ascii_case(PREFIX) && (dotted || bracketed)
}

/// Type of a string match and its text; none if none is set.
pub(super) fn string_of(matching: &Value) -> Option<(&str, &str)> {
    ["exact", "prefix", "regex"].into_iter().find_map(|key| matching.get(key).as_str().map(|text| (key, text)))
}
