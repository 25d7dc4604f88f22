//! The translation of one `TrafficTarget`.

use serde_json::{Value, json};

use super::super::{Settings, Translation, translate};
use super::world::{group, namespace, pod, refused, reports, snapshot, specs, target, tcp, translated};

const FROM: &str = "cluster.local/ns/shop/sa/web";

/// With pods of `cart` and one `TrafficTarget` from `web`.
fn rules(rules: Value, others: impl IntoIterator<Item = Value>) -> Translation {
    let cart = pod("shop", "cart-1", "cart", json!({"app": "cart"}));
    translated([cart, target("shop", "t", "web", "cart", rules)].into_iter().chain(others))
}

fn http(matches: Value) -> Translation {
    rules(json!([{"kind": "HTTPRouteGroup", "name": "g"}]), [group("shop", "g", matches)])
}

/// The `to` of the only rule.
fn operation(translation: &Translation) -> Value {
    assert_eq!(refused(translation), 0, "{:?}", reports(translation));
    translation.objects[0].spec["rules"][0]["to"][0]["operation"].clone()
}

fn is_closed(translation: &Translation) -> bool {
    translation.objects.len() == 1 && translation.objects[0].spec.get("rules").is_none()
}

#[test]
fn tcp_route_without_ports_allows_the_source_on_every_port() {
    let found = rules(json!([{"kind": "TCPRoute", "name": "r"}]), [tcp("shop", "r", json!([]))]);
    let spec = json!({
        "action": "ALLOW",
        "selector": {"matchLabels": {"app": "cart"}},
        "rules": [{"from": [{"source": {"principals": [FROM]}}]}],
    });
    assert_eq!(specs(&found), [spec]);
    assert_eq!(found.objects[0].owner.as_ref().unwrap().uid, "uid-t");
}

#[test]
fn tcp_routes_add_their_ports_up() {
    let found = rules(
        json!([{"kind": "TCPRoute", "name": "a"}, {"kind": "TCPRoute", "name": "b"}]),
        [tcp("shop", "a", json!([9091])), tcp("shop", "b", json!([80, 9091]))],
    );
    assert_eq!(operation(&found), json!({"ports": ["80", "9091"]}));
}

#[test]
fn tcp_route_restricts_the_ports_of_http_routes() {
    let found = rules(
        json!([{"kind": "TCPRoute", "name": "r"}, {"kind": "HTTPRouteGroup", "name": "g"}]),
        [tcp("shop", "r", json!([8080])), group("shop", "g", json!([{"name": "m", "pathRegex": "/metrics"}]))],
    );
    assert_eq!(operation(&found), json!({"ports": ["8080"], "paths": ["/metrics*"]}));
}

#[test]
fn path_expressions_become_exact_prefix_and_suffix_patterns() {
    for (expression, paths) in [
        ("", json!(["*"])),
        (".*", json!(["*"])),
        ("^", json!(["*"])),
        ("/metrics", json!(["/metrics*"])),
        ("^/metrics", json!(["/metrics*"])),
        ("/metrics.*", json!(["/metrics*"])),
        ("/api/.*", json!(["/api/*"])),
        ("/api/.*$", json!(["/api/*"])),
        ("^/metrics$", json!(["/metrics"])),
        ("/v1\\.2$", json!(["/v1.2"])),
        ("/(cart|order)/.*", json!(["/cart/*", "/order/*"])),
        ("/v[12]$", json!(["/v1", "/v2"])),
        ("/carts?$", json!(["/cart", "/carts"])),
        (".*\\.css$", json!(["*.css"])),
        ("/a{2}$", json!(["/aa"])),
        ("/a|.*", json!(["*"])),
    ] {
        let found = http(json!([{"name": "m", "pathRegex": expression}]));
        assert_eq!(operation(&found), json!({"paths": paths}), "{expression}");
    }
}

#[test]
fn path_expression_that_istio_cannot_express_is_refused_and_stays_closed() {
    for expression in [
        "/api/[0-9]+",
        "/a.*b",
        "/a.+",
        "/a\\*",
        "/\\{x\\}",
        "(",
        "\\bx",
        "/(?i)abcdefgh",
        "$",
        "^$",
        "/a/[^/]*/b$",
        ".*x",
        "*",
        "/a[\\s\\S]*b",
        "/.",
        "(?m)^/a$",
    ] {
        let found = http(json!([{"name": "m", "pathRegex": expression}]));
        assert_eq!(refused(&found), 1, "{expression}: {found:?}");
        assert!(is_closed(&found), "{expression}: {found:?}");
        assert!(
            reports(&found)[0].starts_with("TrafficTarget/shop/t Refused: HTTPRouteGroup g, match \"m\": pathRegex: ")
        );
    }
}

#[test]
fn one_refused_match_leaves_the_others() {
    let found = http(json!([{"name": "a", "pathRegex": "/a"}, {"name": "b", "pathRegex": "/[0-9]+"}]));
    assert_eq!(refused(&found), 1);
    let to = &found.objects[0].spec["rules"][0]["to"];
    assert_eq!(*to, json!([{"operation": {"paths": ["/a*"]}}]));
}

#[test]
fn long_expression_is_refused() {
    let found = http(json!([{"name": "m", "pathRegex": "/a".repeat(600)}]));
    assert!(is_closed(&found) && refused(&found) == 1);
}

#[test]
fn methods_are_listed_and_a_star_omits_them() {
    let found = http(json!([{"name": "m", "methods": ["POST", "GET"]}]));
    assert_eq!(operation(&found), json!({"methods": ["GET", "POST"], "paths": ["*"]}));
    let found = http(json!([{"name": "m", "methods": ["*", "GET"]}]));
    assert_eq!(operation(&found), json!({"paths": ["*"]}));
}

#[test]
fn headers_are_conditions_in_both_forms() {
    for headers in [json!({"X-User": "alice", "agent": "curl/.*"}), json!([{"X-User": "alice"}, {"agent": "curl/.*"}])]
    {
        let found = http(json!([{"name": "m", "headers": headers}]));
        assert_eq!(refused(&found), 0, "{:?}", reports(&found));
        let when = json!([
            {"key": "request.headers[agent]", "values": ["curl/*"]},
            {"key": "request.headers[x-user]", "values": ["alice"]},
        ]);
        assert_eq!(found.objects[0].spec["rules"][0]["when"], when);
    }
}

#[test]
fn header_that_istio_cannot_express_is_refused() {
    for (name, expression) in
        [("agent", ".*Firefox.*"), ("agent", "a+"), (":authority", "x"), ("a]b", "x"), ("a", "x*y"), ("a", "")]
    {
        let found = http(json!([{"name": "m", "headers": {name: expression}}]));
        assert!(is_closed(&found) && refused(&found) == 1, "{name}: {expression}: {found:?}");
    }
}

#[test]
fn named_matches_are_the_only_ones() {
    let rule = json!([{"kind": "HTTPRouteGroup", "name": "g", "matches": ["b", "missing"]}]);
    let found = rules(rule, [group("shop", "g", json!([{"name": "a"}, {"name": "b", "pathRegex": "/b$"}]))]);
    assert_eq!(reports(&found), ["TrafficTarget/shop/t Refused: HTTPRouteGroup g has no match \"missing\""]);
    assert_eq!(found.objects[0].spec["rules"][0]["to"], json!([{"operation": {"paths": ["/b"]}}]));
}

#[test]
fn missing_routes_allow_nothing() {
    for rule in
        [json!([{"kind": "HTTPRouteGroup", "name": "x"}]), json!([{"kind": "TCPRoute", "name": "x"}]), json!([])]
    {
        let found = rules(rule.clone(), []);
        assert!(is_closed(&found), "{rule}: {found:?}");
    }
    // Not: the HTTP routes on every port.
    let both = json!([{"kind": "TCPRoute", "name": "x"}, {"kind": "HTTPRouteGroup", "name": "g"}]);
    let found = rules(both, [group("shop", "g", json!([{"name": "m"}]))]);
    assert!(is_closed(&found), "{found:?}");
}

#[test]
fn udp_route_is_refused_and_allows_no_tcp() {
    let found = rules(json!([{"kind": "UDPRoute", "name": "u"}]), []);
    assert!(is_closed(&found));
    let text = "TrafficTarget/shop/t Refused: UDPRoute u: Istio does not proxy UDP; no request is allowed by it";
    assert_eq!(reports(&found), [text]);
}

#[test]
fn invalid_ports_are_refused_and_never_mean_every_port() {
    let found = rules(json!([{"kind": "TCPRoute", "name": "r"}]), [tcp("shop", "r", json!([0, 70000]))]);
    assert!(is_closed(&found) && refused(&found) == 2, "{found:?}");
}

#[test]
fn wildcards_in_identities_are_refused() {
    for source in [
        json!({"kind": "ServiceAccount", "name": "*"}),
        json!({"kind": "ServiceAccount", "name": "web", "namespace": "*"}),
        json!({"kind": "ServiceAccount", "name": "web/sa/*"}),
        json!({"kind": "IdentityBinding", "name": "web"}),
        json!({"kind": "ServiceAccount", "name": ""}),
    ] {
        let mut object = target("shop", "t", "web", "cart", json!([{"kind": "TCPRoute", "name": "r"}]));
        object["spec"]["sources"] = json!([source]);
        let cart = pod("shop", "cart-1", "cart", json!({"app": "cart"}));
        let found = translated([object, cart, tcp("shop", "r", json!([]))]);
        assert!(is_closed(&found) && refused(&found) == 1, "{source}: {found:?}");
    }
    assert!(Settings::new("*", "istio-system").is_err());
    assert!(Settings::new("td.example", "istio-system").is_ok());
}

#[test]
fn source_of_another_namespace_is_named_in_the_principal() {
    let mut object = target("shop", "t", "web", "cart", json!([{"kind": "TCPRoute", "name": "r"}]));
    object["spec"]["sources"][0]["namespace"] = json!("front");
    let world = snapshot([object, pod("shop", "c", "cart", json!({"app": "cart"})), tcp("shop", "r", json!([]))]);
    let found = translate(&world, &Settings::new("td.example", "istio-system").unwrap());
    let principals = &found.objects[0].spec["rules"][0]["from"][0]["source"]["principals"];
    assert_eq!(*principals, json!(["td.example/ns/front/sa/web"]));
}

#[test]
fn destination_in_another_namespace_gets_its_policy_there_without_an_owner() {
    let mut object = target("front", "t", "web", "cart", json!([{"kind": "TCPRoute", "name": "r"}]));
    object["spec"]["destination"]["namespace"] = json!("shop");
    let found = translated([object, pod("shop", "c", "cart", json!({"app": "cart"})), tcp("front", "r", json!([]))]);
    assert_eq!((found.objects[0].namespace.as_str(), found.objects[0].owner.is_none()), ("shop", true));
    let principals = &found.objects[0].spec["rules"][0]["from"][0]["source"]["principals"];
    assert_eq!(*principals, json!(["cluster.local/ns/front/sa/web"]));
}

#[test]
fn indistinguishable_pods_deny_all_traffic() {
    let rule = json!([{"kind": "TCPRoute", "name": "r"}]);
    let found =
        rules(rule, [tcp("shop", "r", json!([])), pod("shop", "other", "order", json!({"app": "cart", "x": "y"}))]);
    assert!(is_closed(&found), "{found:?}");
    let text = "TrafficTarget/shop/t Refused: Pod other of ServiceAccount order has the same labels as pods of the destination; no request to either is allowed; give them different labels";
    assert_eq!(reports(&found), [text]);
}

#[test]
fn pods_without_labels_get_no_policy_for_the_whole_namespace() {
    let pods = pod("shop", "bare", "cart", json!({"pod-template-hash": "1"}));
    let found = translated([
        pods,
        target("shop", "t", "web", "cart", json!([{"kind": "TCPRoute", "name": "r"}])),
        tcp("shop", "r", json!([])),
    ]);
    assert_eq!((found.objects.len(), refused(&found)), (0, 1), "{found:?}");
}

#[test]
fn pods_of_one_template_share_one_policy() {
    let deployment = json!({
        "kind": "Deployment", "metadata": {"namespace": "shop", "name": "cart"},
        "spec": {"template": {"metadata": {"labels": {"app": "cart"}}, "spec": {"serviceAccountName": "cart"}}},
    });
    let rule = json!([{"kind": "TCPRoute", "name": "r"}]);
    let pods = (0..3).map(|index| {
        pod(
            "shop",
            &format!("cart-{index}"),
            "cart",
            json!({"app": "cart", "pod-template-hash": "7", "index": index.to_string()}),
        )
    });
    let found = rules(rule, [tcp("shop", "r", json!([])), deployment].into_iter().chain(pods));
    assert_eq!((found.objects.len(), refused(&found)), (1, 0), "{found:?}");
}

#[test]
fn destination_in_the_root_namespace_is_refused() {
    let cart = pod("istio-system", "c", "cart", json!({"app": "cart"}));
    let target = target("istio-system", "t", "web", "cart", json!([{"kind": "TCPRoute", "name": "r"}]));
    let found = translated([cart, target, tcp("istio-system", "r", json!([]))]);
    assert_eq!((found.objects.len(), refused(&found)), (0, 1), "{found:?}");
}

#[test]
fn default_deny_is_an_opt_in_of_the_namespace() {
    let label = |value: &str| json!({"smi.sailhand.dev/default-deny": value});
    let found = translated([namespace("a", label("true")), namespace("b", label("false")), namespace("c", json!({}))]);
    assert_eq!(found.objects.len(), 1);
    assert_eq!((found.objects[0].namespace.as_str(), &found.objects[0].spec), ("a", &json!({})));
    let found = translated([namespace("istio-system", label("true"))]);
    assert_eq!((found.objects.len(), refused(&found)), (0, 1));
}

#[test]
fn object_of_another_shape_is_refused() {
    let mut object = target("shop", "t", "web", "cart", json!([]));
    object["spec"]["rules"] = json!([{"kind": "GRPCRoute", "name": "x"}]);
    let found = translated([object, pod("shop", "c", "cart", json!({"app": "cart"}))]);
    assert_eq!(refused(&found), 1);
    assert!(reports(&found)[0].contains("unknown variant `GRPCRoute`"), "{found:?}");
    let broken = group("shop", "g", json!([{"name": "m", "headers": "x"}]));
    let found = rules(json!([{"kind": "HTTPRouteGroup", "name": "g"}]), [broken]);
    assert!(is_closed(&found) && refused(&found) == 1);
}
