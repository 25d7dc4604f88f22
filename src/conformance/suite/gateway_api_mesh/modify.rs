//! Rewritten paths, which the original does not compare, and modified request headers.

use serde_json::{Value, json};

use super::super::{Case, Check, Expect};
use super::{backend, extended, path, route, routed, sent};

pub(super) fn cases() -> Vec<Case> {
    let of_rule = modifiers().map(|(prefix, modifier)| {
        json!({
            "matches": [path("PathPrefix", prefix)], "filters": [filter(&modifier)],
            "backendRefs": [backend("echo-v1", 8080)],
        })
    });
    let of_backend = modifiers().map(|(prefix, modifier)| {
        let mut backend = backend("echo-v1", 8080);
        backend["filters"] = json!([filter(&modifier)]);
        json!({"matches": [path("PathPrefix", prefix)], "backendRefs": [backend]})
    });
    vec![
        routed(
            "MeshHTTPRouteRequestHeaderModifier",
            "A filter of a rule sets, adds and removes request headers",
            route("headers", &json!(of_rule)),
            modified(),
        ),
        rewrite(),
        extended(routed(
            "MeshHTTPRouteBackendRequestHeaderModifier",
            "A filter of a backend sets, adds and removes request headers",
            route("backend-headers", &json!(of_backend)),
            modified(),
        )),
    ]
}

fn filter(modifier: &Value) -> Value {
    json!({"type": "RequestHeaderModifier", "requestHeaderModifier": modifier})
}

fn pairs(all: &[(&str, &str)]) -> Value {
    all.iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
}

fn modifiers() -> [(&'static str, Value); 5] {
    [
        ("/set", json!({"set": pairs(&[("X-Header-Set", "set-overwrites-values")])})),
        ("/add", json!({"add": pairs(&[("X-Header-Add", "add-appends-values")])})),
        ("/remove", json!({"remove": ["X-Header-Remove"]})),
        (
            "/multiple",
            json!({
                "set": pairs(&[("X-Header-Set-1", "header-set-1"), ("X-Header-Set-2", "header-set-2")]),
                "add": pairs(&[
                    ("X-Header-Add-1", "header-add-1"), ("X-Header-Add-2", "header-add-2"), ("X-Header-Add-3", "header-add-3"),
                ]),
                "remove": ["X-Header-Remove-1", "X-Header-Remove-2"],
            }),
        ),
        (
            "/case-insensitivity",
            json!({
                "set": pairs(&[("X-Header-Set", "header-set")]),
                "add": pairs(&[("X-Header-Add", "header-add")]),
                "remove": ["X-Header-Remove"],
            }),
        ),
    ]
}

fn received(
    path: &str,
    sent_headers: &[(&str, &str)],
    present: &[(&'static str, &'static str)],
    absent: &[&'static str],
) -> Check {
    Check::Answers(
        sent(path, sent_headers),
        Expect {
            backends: vec!["echo-v1"],
            request_headers: present.to_vec(),
            absent_request_headers: absent.to_vec(),
            ..Expect::default()
        },
    )
}

fn modified() -> Vec<Check> {
    vec![
        received(
            "/set",
            &[("Some-Other-Header", "val")],
            &[("Some-Other-Header", "val"), ("X-Header-Set", "set-overwrites-values")],
            &[],
        ),
        received("/set", &[("X-Header-Set", "some-other-value")], &[("X-Header-Set", "set-overwrites-values")], &[]),
        received(
            "/add",
            &[("Some-Other-Header", "val")],
            &[("Some-Other-Header", "val"), ("X-Header-Add", "add-appends-values")],
            &[],
        ),
        received(
            "/add",
            &[("X-Header-Add", "some-other-value")],
            &[("X-Header-Add", "some-other-value,add-appends-values")],
            &[],
        ),
        received("/remove", &[("X-Header-Remove", "val")], &[], &["X-Header-Remove"]),
        received(
            "/multiple",
            &[
                ("X-Header-Set-2", "set-val-2"),
                ("X-Header-Add-2", "add-val-2"),
                ("X-Header-Remove-2", "remove-val-2"),
                ("Another-Header", "another-header-val"),
            ],
            &[
                ("X-Header-Set-1", "header-set-1"),
                ("X-Header-Set-2", "header-set-2"),
                ("X-Header-Add-1", "header-add-1"),
                ("X-Header-Add-2", "add-val-2,header-add-2"),
                ("X-Header-Add-3", "header-add-3"),
                ("Another-Header", "another-header-val"),
            ],
            &["X-Header-Remove-1", "X-Header-Remove-2"],
        ),
        received(
            "/case-insensitivity",
            &[
                ("x-header-set", "original-val-set"),
                ("x-header-add", "original-val-add"),
                ("x-header-remove", "original-val-remove"),
                ("Another-Header", "another-header-val"),
            ],
            &[
                ("X-Header-Set", "header-set"),
                ("X-Header-Add", "original-val-add,header-add"),
                ("Another-Header", "another-header-val"),
            ],
            &["X-Header-Remove"],
        ),
    ]
}

fn rewrite() -> Case {
    let prefix = |path: &str| json!({"type": "ReplacePrefixMatch", "replacePrefixMatch": path});
    let full = |path: &str| json!({"type": "ReplaceFullPath", "replaceFullPath": path});
    let rule = |from: &str, to: Value, more: Option<Value>| {
        let filters: Vec<_> =
            [Some(json!({"type": "URLRewrite", "urlRewrite": {"path": to}})), more].into_iter().flatten().collect();
        json!({"matches": [path("PathPrefix", from)], "filters": filters, "backendRefs": [backend("echo-v1", 80)]})
    };
    let headers = || {
        Some(filter(&json!({
            "set": pairs(&[("X-Header-Set", "set-overwrites-values")]),
            "add": pairs(&[("X-Header-Add", "header-val-1"), ("X-Header-Add-Append", "header-val-2")]),
            "remove": ["X-Header-Remove"],
        })))
    };
    let rules = json!([
        rule("/prefix/one", prefix("/one"), None),
        rule("/strip-prefix", prefix("/"), None),
        rule("/full/one", full("/one"), None),
        rule("/full/rewrite-path-and-modify-headers", full("/test"), headers()),
        rule("/prefix/rewrite-path-and-modify-headers", prefix("/prefix"), headers()),
    ]);
    let plain = |from: &str, to: &'static str| {
        let expect = Expect { backends: vec!["echo-v1"], path: Some(to), ..Expect::default() };
        Check::Answers(sent(from, &[]), expect)
    };
    let with_headers = |from: &str, to: &'static str| {
        let request = sent(
            from,
            &[("X-Header-Remove", "remove-val"), ("X-Header-Add-Append", "append-val-1"), ("X-Header-Set", "set-val")],
        );
        Check::Answers(
            request,
            Expect {
                backends: vec!["echo-v1"],
                path: Some(to),
                request_headers: vec![
                    ("X-Header-Add", "header-val-1"),
                    ("X-Header-Add-Append", "append-val-1,header-val-2"),
                    ("X-Header-Set", "set-overwrites-values"),
                ],
                absent_request_headers: vec!["X-Header-Remove"],
                ..Expect::default()
            },
        )
    };
    let title = "A rewrite replaces the path or its prefix before the request is forwarded";
    extended(routed(
        "MeshHTTPRouteRewritePath",
        title,
        route("rewrite", &rules),
        vec![
            plain("/prefix/one/two", "/one/two"),
            plain("/strip-prefix/three", "/three"),
            plain("/strip-prefix", "/"),
            plain("/full/one/two", "/one"),
            with_headers("/full/rewrite-path-and-modify-headers/test", "/test"),
            with_headers("/prefix/rewrite-path-and-modify-headers/one", "/prefix/one"),
        ],
    ))
}
