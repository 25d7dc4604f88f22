//! Objects of other clients.

use serde_json::{Value, json};

use super::world::{pod, reports, service, split, target, tcp, translated};

fn port() -> Value {
    json!([{"name": "http", "port": 80}])
}

fn services() -> [Value; 2] {
    [service("shop", "web", port()), service("shop", "web-v1", port())]
}

fn virtual_service(namespace: &str, name: &str, spec: Value) -> Value {
    json!({"kind": "VirtualService", "metadata": {"namespace": namespace, "name": name}, "spec": spec})
}

#[test]
fn virtual_service_for_the_same_host_is_reported_and_applies() {
    for (namespace, host) in [("shop", "web"), ("other", "web.shop.svc.cluster.local"), ("other", "web.shop")] {
        let own = virtual_service(namespace, "own", json!({"hosts": [host], "http": []}));
        let found = translated(services().into_iter().chain([own, split("shop", "s", "web", &[("web-v1", 1)])]));
        assert!(found.objects.is_empty(), "{host}: {found:?}");
        let text = format!(
            "TrafficSplit/shop/s Conflict: VirtualService {namespace}/own routes the same Service and is not managed by the controller; it applies, and nothing is split"
        );
        assert_eq!(reports(&found), [text]);
    }
}

#[test]
fn virtual_service_of_a_gateway_or_another_host_is_no_conflict() {
    for spec in [
        json!({"hosts": ["web"], "gateways": ["istio-system/ingress"]}),
        json!({"hosts": ["other", "*", "web.example.com"]}),
    ] {
        let own = virtual_service("shop", "own", spec.clone());
        let found = translated(services().into_iter().chain([own, split("shop", "s", "web", &[("web-v1", 1)])]));
        assert_eq!((found.objects.len(), found.reports.len()), (1, 0), "{spec}: {found:?}");
    }
    let own = virtual_service("shop", "own", json!({"hosts": ["web"], "gateways": ["mesh", "x"]}));
    let found = translated(services().into_iter().chain([own, split("shop", "s", "web", &[("web-v1", 1)])]));
    assert_eq!((found.objects.len(), found.reports.len()), (0, 1));
}

#[test]
fn object_with_the_name_of_a_translated_one_is_not_overwritten() {
    let own = virtual_service("shop", "s-vs", json!({"hosts": ["elsewhere"]}));
    let found = translated(services().into_iter().chain([own, split("shop", "s", "web", &[("web-v1", 1)])]));
    assert!(found.objects.is_empty());
    assert_eq!(
        reports(&found),
        [
            "TrafficSplit/shop/s Conflict: VirtualService shop/s-vs exists and is not managed by sailhand-smi-controller; it is not overwritten"
        ]
    );
}

#[test]
fn policy_that_allows_requests_to_the_same_workload_is_reported() {
    let policy = |namespace: &str, spec: Value| json!({"kind": "AuthorizationPolicy", "metadata": {"namespace": namespace, "name": "own"}, "spec": spec});
    let objects = || {
        [
            pod("shop", "c", "cart", json!({"app": "cart"})),
            tcp("shop", "r", json!([])),
            target("shop", "t", "web", "cart", json!([{"kind": "TCPRoute", "name": "r"}])),
        ]
    };
    for own in [
        policy("shop", json!({"selector": {"matchLabels": {"app": "cart"}}, "rules": [{}]})),
        policy("shop", json!({"action": "ALLOW", "rules": [{}]})),
        policy("istio-system", json!({"rules": [{}]})),
    ] {
        let found = translated(objects().into_iter().chain([own.clone()]));
        assert_eq!((found.objects.len(), found.reports.len()), (1, 1), "{own}: {found:?}");
        assert!(reports(&found)[0].contains("Conflict: AuthorizationPolicy "), "{found:?}");
    }
    for own in [
        policy("shop", json!({})),
        policy("shop", json!({"action": "DENY", "rules": [{}]})),
        policy("shop", json!({"selector": {"matchLabels": {"app": "other"}}, "rules": [{}]})),
        policy("other", json!({"rules": [{}]})),
    ] {
        assert!(translated(objects().into_iter().chain([own.clone()])).reports.is_empty(), "{own}");
    }
}

#[test]
fn older_of_two_splits_applies() {
    let mut newer = split("shop", "a", "web", &[("web-v1", 1)]);
    newer["metadata"]["creationTimestamp"] = json!("2025-01-02T00:00:00Z");
    let mut older = split("shop", "b", "web", &[("web-v1", 1)]);
    older["metadata"]["creationTimestamp"] = json!("2025-01-01T00:00:00Z");
    let found = translated(services().into_iter().chain([newer, older]));
    assert_eq!(found.objects.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["b-vs"]);
    assert_eq!(
        reports(&found),
        ["TrafficSplit/shop/a Conflict: TrafficSplit b splits the same Service and is older; this one has no effect"]
    );
}
