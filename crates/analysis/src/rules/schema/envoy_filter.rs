//! Validates `EnvoyFilter`: the context of a patch, its match and its operation. Source: `ValidateEnvoyFilter`.
//!
//! Of the patch, which is an Envoy message, only two things are checked: the API version of its types, and that filters
//! state their type. Misspelled fields inside it are not found.

use super::report::{At, IST0106, IST0133, Report};
use super::selector;
use crate::syntax::re2;
use crate::{Check, Findings, Kind, Resource, Rule, Value, View};

pub static RULE: Rule = Rule {
    name: "schema.ValidationAnalyzer.EnvoyFilter",
    codes: &[&IST0106, &IST0133],
    inputs: &[Kind::EnvoyFilter],
    check: Check::Each(&[Kind::EnvoyFilter], check),
};

/// Longest proxy version expression that Istio accepts, characters.
const VERSION: usize = 1024;

/// Deprecated filter names and their replacements. Source: `pkg/config/xds/deprecated.go`.
const RENAMED: &[(&str, &str)] = &[
    ("envoy.buffer", "envoy.filters.http.buffer"),
    ("envoy.cors", "envoy.filters.http.cors"),
    ("envoy.csrf", "envoy.filters.http.csrf"),
    ("envoy.http_dynamo_filter", "envoy.filters.http.dynamo"),
    ("envoy.ext_authz", "envoy.filters.http.ext_authz"),
    ("envoy.fault", "envoy.filters.http.fault"),
    ("envoy.grpc_http1_bridge", "envoy.filters.http.grpc_http1_bridge"),
    ("envoy.grpc_json_transcoder", "envoy.filters.http.grpc_json_transcoder"),
    ("envoy.grpc_web", "envoy.filters.http.grpc_web"),
    ("envoy.gzip", "envoy.filters.http.gzip"),
    ("envoy.health_check", "envoy.filters.http.health_check"),
    ("envoy.ip_tagging", "envoy.filters.http.ip_tagging"),
    ("envoy.lua", "envoy.filters.http.lua"),
    ("envoy.rate_limit", "envoy.filters.http.ratelimit"),
    ("envoy.router", "envoy.filters.http.router"),
    ("envoy.squash", "envoy.filters.http.squash"),
    ("envoy.listener.http_inspector", "envoy.filters.listener.http_inspector"),
    ("envoy.listener.original_dst", "envoy.filters.listener.original_dst"),
    ("envoy.listener.original_src", "envoy.filters.listener.original_src"),
    ("envoy.listener.proxy_protocol", "envoy.filters.listener.proxy_protocol"),
    ("envoy.listener.tls_inspector", "envoy.filters.listener.tls_inspector"),
    ("envoy.client_ssl_auth", "envoy.filters.network.client_ssl_auth"),
    (OLD_MANAGER, MANAGER),
    ("envoy.mongo_proxy", "envoy.filters.network.mongo_proxy"),
    ("envoy.ratelimit", "envoy.filters.network.ratelimit"),
    ("envoy.redis_proxy", "envoy.filters.network.redis_proxy"),
    ("envoy.tcp_proxy", "envoy.filters.network.tcp_proxy"),
];

const MANAGER: &str = "envoy.filters.network.http_connection_manager";
const OLD_MANAGER: &str = "envoy.http_connection_manager";

fn check(_: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let report = &mut Report::new(resource, findings);
    let spec = At::spec(resource);
    if !selector::check_workload_selector(&spec.key("workloadSelector"), report) {
        return;
    }
    report.note(
        &spec,
        "an EnvoyFilter depends on internals of Istio and Envoy and may stop working with any release; prefer other \
         resources, and check it at each upgrade",
    );
    for patch in spec.key("configPatches").each() {
        check_patch(&patch, report);
    }
}

fn check_patch(config: &At<'_, '_>, report: &mut Report<'_>) {
    let matching = config.key("match");
    // Istio does not validate patches for waypoints.
    if matching.get("context").text() == "WAYPOINT" {
        return;
    }
    let apply_to = config.node()["applyTo"].text();
    if matches!(apply_to, "" | "INVALID") {
        report.error(config, "applyTo is required");
        return;
    }
    let patch = config.key("patch");
    if patch.is_null() {
        report.error(config, "a patch is required");
        return;
    }
    let operation = patch.get("operation").text();
    if matches!(operation, "" | "INVALID") {
        report.error(&patch, "an operation is required");
        return;
    }
    let value = patch.key("value");
    if operation != "REMOVE" && value.is_null() {
        report.error(&patch, format_args!("operation {operation} requires a value"));
        return;
    }
    if !check_version(&matching.key("proxy").key("proxyVersion"), report) {
        return;
    }
    if check_object(&matching, apply_to, report) {
        check_value(&value, apply_to, report);
    }
}

fn check_version(version: &At<'_, '_>, report: &mut Report<'_>) -> bool {
    if version.text().len() > VERSION {
        report.warning(version, format_args!("an expression of more than {VERSION} characters is ignored"));
    } else if let Err(why) = re2::check(version.text()) {
        report.error(version, format_args!("{:?} is not a valid RE2 expression: {why}", version.text()));
        return false;
    }
    true
}

/// Whether the match type fits applyTo. False if Istio stops the validation here.
fn check_object(matching: &At<'_, '_>, apply_to: &str, report: &mut Report<'_>) -> bool {
    let class = match apply_to {
        "LISTENER" | "FILTER_CHAIN" | "NETWORK_FILTER" | "HTTP_FILTER" => "listener",
        "ROUTE_CONFIGURATION" | "VIRTUAL_HOST" | "HTTP_ROUTE" => "routeConfiguration",
        "CLUSTER" => "cluster",
        _ => return true,
    };
    let other = ["listener", "routeConfiguration", "cluster", "waypoint"]
        .into_iter()
        .find(|key| *key != class && matching.get(key).is_set());
    if let Some(other) = other.filter(|_| matching.get(class).is_null()) {
        report.error(&matching.key(other), format_args!("applyTo {apply_to} requires a match of type {class}"));
        return class != "listener";
    }
    class != "listener" || check_filter(&matching.key("listener").key("filterChain").key("filter"), apply_to, report)
}

fn check_filter(filter: &At<'_, '_>, apply_to: &str, report: &mut Report<'_>) -> bool {
    if filter.is_null() {
        return true;
    }
    if matches!(apply_to, "LISTENER" | "FILTER_CHAIN") {
        report.warning(filter, format_args!("no effect with applyTo {apply_to}"));
    }
    let name = filter.key("name");
    let sub = filter.key("subFilter");
    if name.is_empty() {
        report.error(filter, "the name of the filter is required");
        return false;
    }
    if sub.is_set() {
        if apply_to != "HTTP_FILTER" {
            report.error(&sub, "supported only for applyTo HTTP_FILTER");
            return false;
        }
        if !matches!(name.text(), MANAGER | OLD_MANAGER) {
            report.error(&name, format_args!("must be {MANAGER} with subFilter"));
            return false;
        }
        if !sub.has("name") {
            report.error(&sub, "the name of the filter is required");
            return false;
        }
    }
    for name in [name, sub.key("name")] {
        if let Some((_, new)) = RENAMED.iter().find(|(old, _)| *old == name.text()) {
            report.warning(&name, format_args!("this filter name is deprecated; use {new}"));
        }
    }
    true
}

fn check_value(value: &At<'_, '_>, apply_to: &str, report: &mut Report<'_>) {
    if let Some(old) = find_type(value, |kind| kind.contains(".v2.") || kind.contains(".v2alpha.")) {
        report.error(value, format_args!("type {old} belongs to the removed Envoy API v2; use the v3 type"));
        return;
    }
    let by_name = matches!(apply_to, "HTTP_FILTER" | "NETWORK_FILTER" | "EXTENSION_CONFIG") && value.has("name");
    let typed = ["typed_config", "typedConfig", "config_discovery", "configDiscovery"];
    if by_name && value.set(&typed).is_empty() {
        report.warning(value, "a filter without typed_config is looked up by its name, which is deprecated");
    }
}

/// The first `@type` below a value for which the predicate is true.
fn find_type(node: &Value, holds: impl Fn(&str) -> bool + Copy) -> Option<&str> {
    let own = node["@type"].as_str().filter(|kind| holds(kind));
    own.or_else(|| node.items().iter().find_map(|item| find_type(item, holds)))
        .or_else(|| node.entries().iter().find_map(|(_, value)| find_type(value, holds)))
}
