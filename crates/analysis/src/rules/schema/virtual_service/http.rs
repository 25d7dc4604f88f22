//! Validates an HTTP route. Source: `validateHTTPRoute` and `validateHTTPRouteConflict`.

use super::super::report::{At, Report};
use super::{destination, faults, headers, matches};

pub(super) fn check(route: &At<'_, '_>, in_delegate: bool, report: &mut Report<'_>) {
    check_actions(route, in_delegate, report);
    for matching in route.key("match").each() {
        matches::check_http(&matching, report);
    }
    headers::check_operations(&route.key("headers"), report);
    check_cors(&route.key("corsPolicy"), report);
    faults::check(&route.key("fault"), report);
    check_mirrors(route, report);
    check_redirect(route, report);
    check_direct_response(&route.key("directResponse"), report);
    check_retries(&route.key("retries"), report);
    check_rewrite(&route.key("rewrite"), report);
    headers::check_authority(route, report);
    destination::check_http(&route.key("route"), report);
    report.duration(&route.key("timeout"));
}

/// Checks mutually exclusive actions of a route.
fn check_actions(route: &At<'_, '_>, in_delegate: bool, report: &mut Report<'_>) {
    let delegate = route.key("delegate");
    let (to, redirect, response) = (route.key("route"), route.key("redirect"), route.key("directResponse"));
    if delegate.is_set() && !in_delegate {
        if redirect.is_set() {
            report.error(&redirect, "must not be set with delegate; the delegate VirtualService sets it");
        }
        if !to.items().is_empty() {
            report.error(&to, "must not be set with delegate; the delegate VirtualService sets it");
        }
        return;
    }
    if delegate.is_set() {
        report.error(&delegate, "a delegate must not delegate to another VirtualService");
    }
    let (action, name) = if redirect.is_set() { (&redirect, "redirect") } else { (&response, "directResponse") };
    if action.is_set() {
        if !to.items().is_empty() {
            report.error(action, format_args!("`route` must not be set with {name}"));
        }
        for excluded in ["fault", "rewrite"] {
            if route.get(excluded).is_set() {
                report.error(&route.key(excluded), format_args!("must not be set with {name}"));
            }
        }
        if redirect.is_set() && response.is_set() {
            report.error(&response, "redirect and directResponse are mutually exclusive");
        }
    } else if to.items().is_empty() {
        report.error(route, "one of route, redirect and directResponse is required");
    }
    if route.get("mirror").is_set() && route.has("mirrors") {
        report.error(&route.key("mirrors"), "mirror and mirrors are mutually exclusive");
    }
}

fn check_cors(policy: &At<'_, '_>, report: &mut Report<'_>) {
    const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"];
    for origin in policy.key("allowOrigins").each() {
        if matches::string_of(origin.node()).is_none_or(|(_, text)| text.is_empty()) {
            report.error(&origin, "one of exact, prefix and regex is required and must not be empty");
        } else {
            matches::check_regex_of(&origin, report);
        }
    }
    for method in policy.key("allowMethods").each() {
        if !METHODS.contains(&method.text()) {
            report.error(&method, format_args!("{:?} is not an HTTP method", method.text()));
        }
    }
    for key in ["allowHeaders", "exposeHeaders"] {
        for name in policy.key(key).each() {
            if name.text().is_empty() {
                report.error(&name, "the name of a header must not be empty");
            } else {
                headers::check_cors_name(&name, report);
            }
        }
    }
    let age = policy.key("maxAge");
    report.duration(&age);
    let nanoseconds = age.as_str().and_then(crate::syntax::duration::parse).unwrap_or_default();
    if nanoseconds > 0 && nanoseconds % 1_000_000_000 != 0 {
        report.error(&age, "only whole seconds are supported");
    }
}

fn check_mirrors(route: &At<'_, '_>, report: &mut Report<'_>) {
    let deprecated = route.key("mirrorPercent");
    if deprecated.is_set() {
        report.percent(&deprecated);
        report.warning(&deprecated, "deprecated; use mirrorPercentage");
    }
    report.percent(&route.key("mirrorPercentage").key("value"));
    destination::check(&route.key("mirror"), report);
    for mirror in route.key("mirrors").each() {
        let to = mirror.key("destination");
        if to.is_null() {
            report.error(&mirror, "destination is required");
            continue;
        }
        destination::check(&to, report);
        report.percent(&mirror.key("percentage").key("value"));
    }
}

fn check_redirect(route: &At<'_, '_>, report: &mut Report<'_>) {
    let redirect = route.key("redirect");
    if redirect.is_null() {
        return;
    }
    if redirect.has("uri") && redirect.has("prefixRewrite") {
        report.error(&redirect, "uri and prefixRewrite are mutually exclusive");
        return;
    }
    if redirect.has("prefixRewrite") {
        let uris = route.node().get("match").items().iter().map(|matching| &matching["uri"]);
        if uris.into_iter().any(|uri| uri.is_set() && uri["prefix"].is_null()) {
            report.error(
                &redirect.key("prefixRewrite"),
                "requires that every uri match in this route is a prefix \
                                                          match",
            );
            return;
        }
    }
    let some = ["uri", "prefixRewrite", "authority", "scheme"].iter().any(|key| redirect.has(key))
        || ["port", "derivePort"].iter().any(|key| redirect.get(key).is_set());
    if !some {
        report.error(&redirect, "at least one of uri, authority, scheme and port is required");
        return;
    }
    let code = redirect.key("redirectCode");
    if !code.is_empty() && !(300..=399).contains(&code.int()) {
        report.error(&code, format_args!("{} is not a redirect code (3xx)", code.int()));
        return;
    }
    let scheme = redirect.key("scheme");
    if !matches!(scheme.text(), "" | "http" | "https") {
        report.error(&scheme, "must be http or https");
        return;
    }
    if redirect.has("port") {
        report.port(&redirect.key("port"));
    }
}

fn check_direct_response(response: &At<'_, '_>, report: &mut Report<'_>) {
    const KIB: usize = 1024;
    if response.is_null() {
        return;
    }
    let body = response.key("body");
    let text = body.get("string").text();
    let size = if text.is_empty() { body.get("bytes").text().len() / 4 * 3 } else { text.len() };
    if size > 1024 * KIB {
        report.error(&body, "a body must be at most 1 MiB; every proxy stores a copy");
    } else if size > 100 * KIB {
        report.warning(
            &body,
            "a body of more than 100 KiB increases the load on the control plane; every proxy stores \
                             a copy",
        );
    }
    faults::check_status(&response.key("status"), report);
}

fn check_retries(retries: &At<'_, '_>, report: &mut Report<'_>) {
    const CONDITIONS: &[&str] = &[
        "5xx",
        "gateway-error",
        "reset",
        "reset-before-request",
        "connect-failure",
        "retriable-4xx",
        "refused-stream",
        "retriable-status-codes",
        "retriable-headers",
        "envoy-ratelimited",
        "http3-post-connect-failure",
        "cancelled",
        "deadline-exceeded",
        "internal",
        "resource-exhausted",
        "unavailable",
    ];
    if retries.is_null() {
        return;
    }
    let attempts = retries.key("attempts");
    report.not_negative(&attempts);
    let settings = ["perTryTimeout", "retryRemoteLocalities"].iter().any(|key| retries.get(key).is_set());
    if attempts.int() == 0 && (settings || retries.has("retryOn")) {
        report.error(retries, "with attempts 0 no retry happens, so no other field is allowed");
    }
    report.duration(&retries.key("perTryTimeout"));
    let conditions = retries.key("retryOn");
    for condition in conditions.text().split(',').filter(|_| !conditions.text().is_empty()) {
        if !CONDITIONS.contains(&condition) && !is_status(condition) {
            report.error(&conditions, format_args!("{condition:?} is not an Envoy retry condition or an HTTP status"));
        }
    }
    report.duration(&retries.key("backoff"));
}

/// A status code that Go's `net/http` has a text for.
fn is_status(text: &str) -> bool {
    const OTHER: &[u32] = &[
        200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 307, 308, 421, 422, 423, 424,
        425, 426, 428, 429, 431, 451, 500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511,
    ];
    let Ok(code) = text.parse::<u32>() else { return false };
    (100..=103).contains(&code) || (400..=418).contains(&code) || OTHER.contains(&code)
}

fn check_rewrite(rewrite: &At<'_, '_>, report: &mut Report<'_>) {
    if rewrite.is_null() {
        return;
    }
    let by_regex = rewrite.key("uriRegexRewrite");
    if rewrite.has("uri") && by_regex.is_set() {
        report.error(rewrite, "uri and uriRegexRewrite are mutually exclusive");
    } else if !rewrite.has("uri") && by_regex.is_null() && !rewrite.has("authority") {
        report.error(rewrite, "at least one of uri, uriRegexRewrite and authority is required");
    } else if by_regex.is_set() {
        if by_regex.has("match") && by_regex.has("rewrite") {
            matches::check_regex(&by_regex.key("match"), report);
        } else {
            report.error(&by_regex, "both match and rewrite are required");
        }
    }
}
