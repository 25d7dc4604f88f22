//! The translation of one `TrafficSplit` in sidecar mode.

use serde_json::{Value, json};

use super::super::Translation;
use super::world::{group, refused, reports, service, split, translated};

fn destination(host: &str, port: u16, weight: u32) -> Value {
    json!({"destination": {"host": host, "port": {"number": port}}, "weight": weight})
}

fn root(port: u16) -> Value {
    json!([{"destination": {"host": "web", "port": {"number": port}}}])
}

/// Services `web`, `v1` and `v2` with these ports, and a split of `web`.
fn splits(ports: [Value; 3], backends: &[(&str, u32)]) -> Translation {
    let [web, v1, v2] = ports;
    translated([
        service("shop", "web", web),
        service("shop", "v1", v1),
        service("shop", "v2", v2),
        split("shop", "s", "web", backends),
    ])
}

fn http() -> Value {
    json!([{"name": "http", "port": 80}])
}

#[test]
fn weights_are_exact() {
    for weights in [[1, 1], [1000, 500], [0, 7], [999_999, 1]] {
        let found = splits([http(), http(), http()], &[("v1", weights[0]), ("v2", weights[1])]);
        assert_eq!(refused(&found), 0);
        let route = json!([destination("v1", 80, weights[0]), destination("v2", 80, weights[1])]);
        assert_eq!(found.objects[0].spec["http"][0]["route"], route);
    }
}

#[test]
fn weights_that_are_too_large_are_reduced_exactly_or_refused() {
    let found = splits([http(), http(), http()], &[("v1", 4_000_000_000), ("v2", 2_000_000_000)]);
    assert_eq!(found.objects[0].spec["http"][0]["route"], json!([destination("v1", 80, 2), destination("v2", 80, 1)]));
    let found = splits([http(), http(), http()], &[("v1", 4_000_000_000), ("v2", 3_999_999_999)]);
    assert_eq!((found.objects.len(), refused(&found)), (0, 1));
}

#[test]
fn invalid_splits_are_refused_as_a_whole() {
    let whole = json!([{"service": "v1", "weight": 1}]);
    for (service, backends) in [
        ("web", json!([{"service": "v1", "weight": 0}, {"service": "v2", "weight": 0}])),
        ("web", json!([])),
        ("web", json!([{"service": "v1", "weight": 0.5}])),
        ("web", json!([{"service": "v1", "weight": -1}])),
        ("web", json!([{"service": "web", "weight": 1}])),
        ("web", json!([{"service": "v1", "weight": 1}, {"service": "v1", "weight": 1}])),
        ("web", json!([{"service": "v1.other", "weight": 1}])),
        ("*", whole.clone()),
        ("web.other.svc.cluster.local", whole.clone()),
        ("missing", whole),
    ] {
        let mut object = split("shop", "s", service, &[]);
        object["spec"]["backends"] = backends.clone();
        let web = super::world::service("shop", "web", http());
        let found = translated([
            web,
            super::world::service("shop", "v1", http()),
            super::world::service("shop", "v2", http()),
            object,
        ]);
        assert_eq!((found.objects.len(), refused(&found)), (0, 1), "{service} {backends}: {found:?}");
    }
}

#[test]
fn ports_are_routed_one_by_one() {
    let two = json!([{"name": "grpc", "port": 8080}, {"name": "http-rest", "port": 9090}]);
    let found = splits([two.clone(), two.clone(), two], &[("v1", 1), ("v2", 2)]);
    assert_eq!(refused(&found), 0);
    let route =
        |port| json!({"match": [{"port": port}], "route": [destination("v1", port, 1), destination("v2", port, 2)]});
    assert_eq!(found.objects[0].spec["http"], json!([route(8080), route(9090)]));
}

#[test]
fn backend_without_the_port_gets_no_traffic_and_is_reported() {
    let found = splits(
        [
            json!([{"name": "grpc", "port": 8080}]),
            json!([{"name": "grpc", "port": 1024}]),
            json!([{"name": "grpc", "port": 8080}]),
        ],
        &[("v1", 1), ("v2", 1)],
    );
    assert_eq!(
        found.objects[0].spec["http"],
        json!([{"match": [{"port": 8080}], "route": [destination("v2", 8080, 1)]}])
    );
    assert_eq!(
        reports(&found),
        [
            "TrafficSplit/shop/s Refused: Service v1 has no port 8080, which Service web has; it receives no traffic of that port"
        ]
    );
}

#[test]
fn port_without_a_backend_stays_with_the_root() {
    let two = json!([{"name": "http", "port": 80}, {"name": "http-admin", "port": 81}]);
    let found = splits([two, http(), http()], &[("v1", 1), ("v2", 1)]);
    assert_eq!(found.objects[0].spec["http"][1], json!({"match": [{"port": 81}], "route": root(81)}));
    let found = splits([http(), json!([{"name": "http", "port": 81}]), http()], &[("v1", 1), ("v2", 0)]);
    assert!(found.objects.is_empty() && refused(&found) == 2, "{found:?}");
}

#[test]
fn missing_backend_with_weight_0_is_no_error() {
    let found = splits([http(), http(), http()], &[("v1", 100), ("foobar-v2", 0)]);
    assert_eq!(
        (found.reports.len(), &found.objects[0].spec["http"][0]["route"]),
        (0, &json!([destination("v1", 80, 100)]))
    );
    let found = splits([http(), http(), http()], &[("v1", 100), ("foobar-v2", 1)]);
    assert_eq!(
        reports(&found),
        ["TrafficSplit/shop/s Refused: Service shop/foobar-v2 does not exist; it receives no traffic"]
    );
}

#[test]
fn tcp_and_undeclared_ports_get_tcp_routes() {
    let tcp = json!([{"name": "tcp", "port": 5432}]);
    let found = splits([tcp.clone(), tcp.clone(), tcp], &[("v1", 3), ("v2", 1)]);
    let route =
        |port| json!([{"match": [{"port": port}], "route": [destination("v1", port, 3), destination("v2", port, 1)]}]);
    assert_eq!(found.objects[0].spec, json!({"hosts": ["web"], "tcp": route(5432)}));
    let auto = json!([{"port": 80}]);
    let found = splits([auto.clone(), auto.clone(), auto], &[("v1", 3), ("v2", 1)]);
    assert_eq!(found.objects[0].spec, json!({"hosts": ["web"], "http": route(80), "tcp": route(80)}));
}

#[test]
fn tls_and_udp_ports_are_not_split() {
    let ports = json!([{"name": "http", "port": 80}, {"name": "https", "port": 443}, {"name": "dns", "port": 53, "protocol": "UDP"}]);
    let found = splits([ports.clone(), ports.clone(), ports], &[("v1", 1)]);
    assert_eq!(found.objects[0].spec["http"].as_array().unwrap().len(), 1);
    assert_eq!(found.objects[0].spec.get("tcp"), None);
    assert_eq!(
        reports(&found),
        [
            "TrafficSplit/shop/s Refused: port 443 of Service web carries TLS, which Istio cannot split by weight alone; the root Service receives its traffic"
        ]
    );
}

#[test]
fn matching_requests_are_split_and_the_others_go_to_the_root() {
    let mut object = split("shop", "ab", "web", &[("v1", 0), ("v2", 100)]);
    object["spec"]["matches"] =
        json!([{"kind": "HTTPRouteGroup", "name": "a"}, {"kind": "HTTPRouteGroup", "name": "b"}]);
    let found = translated([
        service("shop", "web", http()),
        service("shop", "v1", http()),
        service("shop", "v2", http()),
        group("shop", "a", json!([{"name": "firefox", "headers": {"User-Agent": ".*Firefox.*"}}])),
        group(
            "shop",
            "b",
            json!([{"name": "api", "pathRegex": "/api/v[0-9]+", "methods": ["GET", "HEAD"]}, {"name": "put", "methods": ["PUT"]}]),
        ),
        object,
    ]);
    assert_eq!(refused(&found), 0, "{found:?}");
    let matches = json!([
        {"port": 80, "headers": {"user-agent": {"regex": ".*Firefox.*"}}},
        {"port": 80, "uri": {"regex": "(?:/api/v[0-9]+).*"}, "method": {"regex": "GET|HEAD"}},
        {"port": 80, "method": {"exact": "PUT"}},
    ]);
    let http = json!([
        {"match": matches, "route": [destination("v1", 80, 0), destination("v2", 80, 100)]},
        {"match": [{"port": 80}], "route": root(80)},
    ]);
    assert_eq!(found.objects[0].spec, json!({"hosts": ["web"], "http": http}));
}

#[test]
fn split_whose_matches_are_missing_splits_nothing() {
    let mut object = split("shop", "ab", "web", &[("v1", 1)]);
    object["spec"]["matches"] = json!([{"kind": "HTTPRouteGroup", "name": "missing"}]);
    let found = translated([service("shop", "web", http()), service("shop", "v1", http()), object]);
    assert_eq!((found.objects.len(), refused(&found)), (0, 1));
}

#[test]
fn matches_do_not_apply_to_tcp_ports() {
    let mut object = split("shop", "ab", "web", &[("v1", 1)]);
    object["spec"]["matches"] = json!([{"kind": "HTTPRouteGroup", "name": "a"}]);
    let ports = json!([{"name": "http", "port": 80}, {"name": "tcp", "port": 90}]);
    let found = translated([
        service("shop", "web", ports.clone()),
        service("shop", "v1", ports),
        group("shop", "a", json!([{"name": "m", "methods": ["GET"]}])),
        object,
    ]);
    assert_eq!(found.objects[0].spec["tcp"], json!([{"match": [{"port": 90}], "route": root(90)}]));
    assert_eq!(refused(&found), 1);
}
