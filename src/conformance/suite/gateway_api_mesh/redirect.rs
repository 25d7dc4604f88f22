//! Redirects, with the `Location` that the original does not compare. `$host` stands for the host of the request.

use serde_json::{Value, json};

use super::super::{Case, Check, Expect, Outcome};
use super::{extended, path, route, routed, sent};

pub(super) fn cases() -> Vec<Case> {
    vec![host_and_status(), redirect_path(), redirect_port(), scheme()]
}

fn rule(prefix: &str, redirect: &Value) -> Value {
    json!({
        "matches": [path("PathPrefix", prefix)],
        "filters": [{"type": "RequestRedirect", "requestRedirect": redirect}],
    })
}

fn moved(path: &str, status: u16, location: &'static str) -> Check {
    let outcome = Outcome::Status(status);
    Check::Answers(sent(path, &[]), Expect { outcome, location: Some(location), ..Expect::default() })
}

fn host_and_status() -> Case {
    let rules = json!([
        rule("/hostname-redirect", &json!({"hostname": "example.org"})),
        rule("/host-and-status", &json!({"statusCode": 301, "hostname": "example.org"})),
    ]);
    let title = "A redirect replaces the host and uses the status";
    routed(
        "MeshHTTPRouteRedirectHostAndStatus",
        title,
        route("redirect-host", &rules),
        vec![
            moved("/hostname-redirect", 302, "http://example.org/hostname-redirect"),
            moved("/host-and-status", 301, "http://example.org/host-and-status"),
        ],
    )
}

fn redirect_path() -> Case {
    let prefix = || json!({"type": "ReplacePrefixMatch", "replacePrefixMatch": "/replacement-prefix"});
    let full = |path: &str| json!({"type": "ReplaceFullPath", "replaceFullPath": path});
    let rules = json!([
        rule("/original-prefix", &json!({"path": prefix()})),
        rule("/full", &json!({"path": full("/full-path-replacement")})),
        rule("/path-and-host", &json!({"hostname": "example.org", "path": prefix()})),
        rule("/path-and-status", &json!({"path": prefix(), "statusCode": 301})),
        rule("/full-path-and-host", &json!({"hostname": "example.org", "path": full("/replacement-full")})),
        rule("/full-path-and-status", &json!({"path": full("/replacement-full"), "statusCode": 301})),
    ]);
    let title = "A redirect replaces the path or its prefix";
    extended(routed(
        "MeshHTTPRouteRedirectPath",
        title,
        route("redirect-path", &rules),
        vec![
            moved("/original-prefix/lemon", 302, "http://$host/replacement-prefix/lemon"),
            moved("/full/path/original", 302, "http://$host/full-path-replacement"),
            moved("/path-and-host/lemon", 302, "http://example.org/replacement-prefix/lemon"),
            moved("/path-and-status/lemon", 301, "http://$host/replacement-prefix/lemon"),
            moved("/full-path-and-host/lemon", 302, "http://example.org/replacement-full"),
            moved("/full-path-and-status/lemon", 301, "http://$host/replacement-full"),
        ],
    ))
}

fn redirect_port() -> Case {
    let rules = json!([
        rule("/port", &json!({"port": 8083})),
        rule("/port-and-host", &json!({"hostname": "example.org", "port": 8083})),
        rule("/port-and-status", &json!({"port": 8083, "statusCode": 301})),
        rule("/port-and-host-and-status", &json!({"port": 8083, "hostname": "example.org", "statusCode": 302})),
    ]);
    let title = "A redirect replaces the port";
    extended(routed(
        "MeshHTTPRouteRedirectPort",
        title,
        route("redirect-port", &rules),
        vec![
            moved("/port", 302, "http://$host:8083/port"),
            moved("/port-and-host", 302, "http://example.org:8083/port-and-host"),
            moved("/port-and-status", 301, "http://$host:8083/port-and-status"),
            moved("/port-and-host-and-status", 302, "http://example.org:8083/port-and-host-and-status"),
        ],
    ))
}

fn scheme() -> Case {
    let rules = json!([
        rule("/scheme", &json!({"scheme": "https"})),
        rule("/scheme-and-host", &json!({"hostname": "example.org", "scheme": "https"})),
        rule("/scheme-and-status", &json!({"scheme": "https", "statusCode": 301})),
        rule("/scheme-and-host-and-status", &json!({"scheme": "https", "statusCode": 302, "hostname": "example.org"})),
    ]);
    let title = "A redirect replaces the scheme";
    extended(routed(
        "MeshHTTPRouteSchemeRedirect",
        title,
        route("redirect-scheme", &rules),
        vec![
            moved("/scheme", 302, "https://$host/scheme"),
            moved("/scheme-and-host", 302, "https://example.org/scheme-and-host"),
            moved("/scheme-and-status", 301, "https://$host/scheme-and-status"),
            moved("/scheme-and-host-and-status", 302, "https://example.org/scheme-and-host-and-status"),
        ],
    ))
}
