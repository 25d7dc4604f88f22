//! Ambient mode: ztunnel and waypoints.

use serde_json::{Value, json};

use super::super::{IstioKind, Translation};
use super::world::{group, namespace, pod, refused, reports, service, split, target, tcp, translated};

fn ambient(waypoint: bool, objects: impl IntoIterator<Item = Value>) -> Translation {
    let mut labels = json!({"istio.io/dataplane-mode": "ambient"});
    if waypoint {
        labels["istio.io/use-waypoint"] = json!("waypoint");
    }
    let ports = json!([{"name": "http", "port": 80, "targetPort": 9091}]);
    let base =
        [namespace("shop", labels), pod("shop", "c", "cart", json!({"app": "cart"})), service("shop", "cart", ports)];
    translated(base.into_iter().chain(objects))
}

fn rules(kind: &str) -> Value {
    json!([{"kind": kind, "name": "r"}])
}

#[test]
fn tcp_rules_need_no_waypoint() {
    let found =
        ambient(false, [tcp("shop", "r", json!([9091])), target("shop", "t", "web", "cart", rules("TCPRoute"))]);
    assert_eq!((found.objects.len(), refused(&found)), (1, 0));
    assert_eq!(found.objects[0].spec["rules"][0]["to"], json!([{"operation": {"ports": ["9091"]}}]));
}

#[test]
fn http_rules_without_a_waypoint_are_refused_and_closed() {
    let found = ambient(
        false,
        [group("shop", "r", json!([{"name": "m"}])), target("shop", "t", "web", "cart", rules("HTTPRouteGroup"))],
    );
    assert_eq!((found.objects.len(), refused(&found)), (1, 1));
    assert_eq!(found.objects[0].spec.get("rules"), None);
}

#[test]
fn waypoint_enforces_the_rules_and_the_pods_admit_the_waypoint_alone() {
    let http = group("shop", "r", json!([{"name": "m", "methods": ["GET"]}]));
    let both = json!([{"kind": "HTTPRouteGroup", "name": "r"}, {"kind": "TCPRoute", "name": "r"}]);
    let found = ambient(true, [http, tcp("shop", "r", json!([9091])), target("shop", "t", "web", "cart", both)]);
    assert_eq!((found.objects.len(), refused(&found)), (2, 0), "{found:?}");
    let at_service = found.objects.iter().find(|one| one.spec.get("targetRefs").is_some()).unwrap();
    let at_pods = found.objects.iter().find(|one| one.spec.get("selector").is_some()).unwrap();
    assert_eq!(at_service.spec["targetRefs"], json!([{"group": "", "kind": "Service", "name": "cart"}]));
    let operation = json!({"paths": ["*"], "methods": ["GET"], "ports": ["80"]});
    assert_eq!(at_service.spec["rules"][0]["to"], json!([{"operation": operation}]));
    let waypoint = json!([{"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/waypoint"]}}]}]);
    assert_eq!(at_pods.spec["rules"], waypoint);
}

#[test]
fn service_with_pods_of_two_identities_is_closed_at_the_waypoint() {
    let other = pod("shop", "o", "order", json!({"app": "cart", "tier": "x"}));
    let mut cart = pod("shop", "c2", "cart", json!({"app": "cart", "tier": "y"}));
    cart["spec"]["serviceAccountName"] = json!("cart");
    let found = ambient(
        true,
        [other, cart, tcp("shop", "r", json!([])), target("shop", "t", "web", "cart", rules("TCPRoute"))],
    );
    let at_service: Vec<_> = found.objects.iter().filter(|one| one.spec.get("targetRefs").is_some()).collect();
    assert!(!at_service.is_empty() && at_service.iter().all(|one| one.spec.get("rules").is_none()), "{found:?}");
}

#[test]
fn split_becomes_an_http_route_for_each_port() {
    let ports = json!([{"name": "http", "port": 80}]);
    let mut object = split("shop", "s", "cart", &[("v1", 3), ("v2", 1)]);
    object["spec"]["matches"] = json!([{"kind": "HTTPRouteGroup", "name": "g"}]);
    let objects = || {
        [
            service("shop", "v1", ports.clone()),
            service("shop", "v2", ports.clone()),
            group(
                "shop",
                "g",
                json!([{"name": "m", "pathRegex": "/api", "methods": ["GET", "PUT"], "headers": {"x": "1"}}]),
            ),
            object.clone(),
        ]
    };
    let found = ambient(true, objects());
    assert_eq!((found.objects.len(), refused(&found)), (1, 0), "{found:?}");
    assert_eq!(found.objects[0].kind, IstioKind::HttpRoute);
    let spec = &found.objects[0].spec;
    assert_eq!(spec["parentRefs"], json!([{"group": "", "kind": "Service", "name": "cart", "port": 80}]));
    let path = json!({"type": "RegularExpression", "value": "(?:/api).*"});
    let headers = json!([{"type": "RegularExpression", "name": "x", "value": "1"}]);
    let one = |method: &str| json!({"path": path, "headers": headers, "method": method});
    assert_eq!(spec["rules"][0]["matches"], json!([one("GET"), one("PUT")]));
    assert_eq!(
        spec["rules"][0]["backendRefs"][0],
        json!({"group": "", "kind": "Service", "name": "v1", "port": 80, "weight": 3})
    );
    assert_eq!(
        spec["rules"][1]["backendRefs"],
        json!([{"group": "", "kind": "Service", "name": "cart", "port": 80, "weight": 1}])
    );

    let found = ambient(false, objects());
    assert!(found.objects.is_empty());
    assert_eq!(
        reports(&found),
        [
            "TrafficSplit/shop/s Refused: a TrafficSplit needs a waypoint in ambient mode, and the Service uses none; nothing is split"
        ]
    );
}
