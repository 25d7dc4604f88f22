//! Cases of Traffic Specs: paths, methods and headers of an `HTTPRouteGroup` that a `TrafficTarget` references.

use serde_json::{Value, json};

use super::super::{Case, Check, NAMESPACE, denied, get, ok, phase, request, with_headers};
use super::access::{apply, deny_and, opened};
use super::{PORT, SPECS, case, deployed, route_group, served, stored, target};
use crate::conformance::traffic::Request;

const GROUP: &str = "routes";

pub(super) fn cases() -> Vec<Case> {
    let path = |path: &str| get("app-a", "app-b", PORT, path);
    let method = |method: &str| request(NAMESPACE, "app-a", method, "app-b", PORT, "/echo");
    vec![
        served(
            "TSC-1.1.1",
            SPECS,
            GROUP,
            &[
                ("httproutegroups.specs.smi-spec.io", "v1alpha4"),
                ("tcproutes.specs.smi-spec.io", "v1alpha4"),
                ("udproutes.specs.smi-spec.io", "v1alpha4"),
            ],
        ),
        deployed("TSC-1.1.2", SPECS, GROUP, "app-b"),
        stored(
            "TSC-1.2.3",
            SPECS,
            GROUP,
            "HTTPRouteGroup and TrafficTarget with a path are stored as applied",
            vec![metrics_group(), by_route(&json!(["metrics"]))],
        ),
        routed(
            "TSC-1.2.4",
            "path",
            "pathRegex matches from the start of the path and is open at its end",
            vec![metrics_group(), by_route(&json!(["metrics"]))],
            &[&path("/metrics"), &path("/metrics/x")],
            &[&path("/echo"), &path("/x/metrics")],
        ),
        stored(
            "TSC-1.2.5",
            SPECS,
            GROUP,
            "HTTPRouteGroup and TrafficTarget with a method are stored as applied",
            vec![get_group(), by_route(&json!(["reads"]))],
        ),
        routed(
            "TSC-1.2.6",
            "method",
            "methods restrict a rule to these methods",
            vec![get_group(), by_route(&json!(["reads"]))],
            &[&method("GET")],
            &[&method("POST")],
        ),
        routed(
            "TSC-x.1",
            "matches_omitted",
            "A rule without matches references every match of its group",
            vec![
                route_group(
                    "routes",
                    &json!([
                        {"name": "first", "pathRegex": "/first", "methods": ["GET"]},
                        {"name": "second", "pathRegex": "/second", "methods": ["GET"]},
                    ]),
                ),
                target("a-to-b", &[("service-a", NAMESPACE)], &json!([{"kind": "HTTPRouteGroup", "name": "routes"}])),
            ],
            &[&path("/first"), &path("/second")],
            &[&path("/third")],
        ),
        route_update(),
        headers_exact(),
        header_regex(),
        Case {
            may_be_refused: true,
            ..routed(
                "TSC-x.5",
                "path_regex",
                "pathRegex is a regular expression, or the adapter refuses it and allows nothing wider",
                vec![
                    route_group("routes", &json!([{"name": "ids", "pathRegex": "/api/[0-9]+", "methods": ["*"]}])),
                    by_route(&json!(["ids"])),
                ],
                &[&path("/api/42")],
                &[&path("/api/x"), &path("/echo")],
            )
        },
    ]
}

fn metrics_group() -> Value {
    route_group("routes", &json!([{"name": "metrics", "pathRegex": "/metrics", "methods": ["*"]}]))
}

fn get_group() -> Value {
    route_group("routes", &json!([{"name": "reads", "pathRegex": ".*", "methods": ["GET"]}]))
}

fn by_route(matches: &Value) -> Value {
    let rules = json!([{"kind": "HTTPRouteGroup", "name": "routes", "matches": matches}]);
    target("a-to-b", &[("service-a", NAMESPACE)], &rules)
}

/// Every request succeeds in a control phase; then `allowed` and nothing of `refused` does.
#[allow(clippy::needless_pass_by_value, reason = "each caller makes the list for this call")]
fn routed(
    id: &'static str,
    feature: &'static str,
    title: &'static str,
    objects: Vec<Value>,
    allowed: &[&Request],
    refused: &[&Request],
) -> Case {
    let all: Vec<_> = allowed.iter().chain(refused).copied().collect();
    let checks = checks(allowed, refused);
    case(
        id,
        SPECS,
        feature,
        GROUP,
        title,
        vec![opened(&all), phase("only matching requests are allowed", deny_and(&objects), checks)],
    )
}

fn checks(allowed: &[&Request], refused: &[&Request]) -> Vec<Check> {
    allowed.iter().map(|one| ok(one)).chain(refused.iter().map(|one| denied(one))).collect()
}

/// Only the group changes; the `TrafficTarget` that references it does not.
fn route_update() -> Case {
    let group = |path: &str| route_group("routes", &json!([{"name": "path", "pathRegex": path, "methods": ["*"]}]));
    let [old, new] = ["/old", "/new"].map(|path| get("app-a", "app-b", PORT, path));
    case(
        "TSC-x.2",
        SPECS,
        "route_update",
        GROUP,
        "A change of an HTTPRouteGroup alone takes effect",
        vec![
            opened(&[&old, &new]),
            phase(
                "the old path is allowed",
                deny_and(&[group("/old"), by_route(&json!(["path"]))]),
                checks(&[&old], &[&new]),
            ),
            phase("the new path is allowed instead", apply(&[group("/new")]), checks(&[&new], &[&old])),
        ],
    )
}

fn headers_exact() -> Case {
    let plain = get("app-a", "app-b", PORT, "/echo");
    let both = with_headers(&plain, &[("x-user", "jason"), ("x-team", "blue")]);
    let one = with_headers(&plain, &[("x-user", "jason")]);
    let other = with_headers(&plain, &[("x-user", "jane"), ("x-team", "blue")]);
    let matches = json!([{"name": "team", "pathRegex": ".*", "methods": ["*"], "headers": [{"x-user": "jason"}, {"x-team": "blue"}]}]);
    let objects = vec![route_group("routes", &matches), by_route(&json!(["team"]))];
    routed(
        "TSC-x.3",
        "header_exact",
        "All headers of a match must have their values",
        objects,
        &[&both],
        &[&plain, &one, &other],
    )
}

fn header_regex() -> Case {
    let plain = get("app-a", "app-b", PORT, "/echo");
    let [good, bad] = ["v12", "vx"].map(|value| with_headers(&plain, &[("x-version", value)]));
    let matches =
        json!([{"name": "version", "pathRegex": ".*", "methods": ["*"], "headers": [{"x-version": "v[0-9]+"}]}]);
    let title = "A header value is a regular expression, or the adapter refuses it and allows nothing wider";
    let objects = vec![route_group("routes", &matches), by_route(&json!(["version"]))];
    let case = routed("TSC-x.4", "header_regex", title, objects, &[&good], &[&plain, &bad]);
    Case { may_be_refused: true, ..case }
}
