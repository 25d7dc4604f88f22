//! Policies on a real API server with Istio's own CRDs: what is written, what is refused, and what is warned of by live
//! objects. Nodes are simulated, so no connection is made here; tests/real does that.

use crate::cluster_target;
use crate::support;

use cluster_target::{context, object, read, unique, write};
use sailhand::cluster::Action;
use sailhand::error::Classify;
use sailhand::task::policy::{Apply, ApplyParams, PolicyReport, Remove, RemoveParams};
use sailhand::task::{Task, TaskContext};
use serde_json::{Value, json};
use support::istio_crds;

const SECURITY: &str = "security.istio.io/v1";

async fn namespace(tag: &str) -> (TaskContext, String) {
    istio_crds::install();
    let space = unique(tag);
    let (cx, _) = context(&space, 1);
    write(&cx, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})).await;
    (cx, space)
}

async fn apply(cx: &TaskContext, params: Value) -> (bool, PolicyReport) {
    let params: ApplyParams = serde_json::from_value(params).unwrap();
    Apply.run(cx, params).await.unwrap().into_parts()
}

async fn refused(cx: &TaskContext, params: Value) -> (&'static str, String) {
    let error = Apply.run(cx, serde_json::from_value::<ApplyParams>(params).unwrap()).await.unwrap_err().error;
    (error.code().as_str(), error.to_string())
}

async fn remove(cx: &TaskContext, params: Value) -> bool {
    Remove.run(cx, serde_json::from_value::<RemoveParams>(params).unwrap()).await.unwrap().into_parts().0
}

async fn spec(cx: &TaskContext, kind: &str, space: &str, name: &str) -> Option<Value> {
    Some(read(cx, &object(SECURITY, kind, Some(space), name)).await?["spec"].clone())
}

#[tokio::test]
async fn one_mode_follows_another_and_is_taken_away() {
    let (cx, space) = namespace("policy-mtls").await;
    let scope = json!({"of": "namespace", "namespace": space});
    for (mode, stored) in [("strict", "STRICT"), ("disable", "DISABLE"), ("permissive", "PERMISSIVE")] {
        let asked = json!({"scope": scope, "mtls": {"mode": mode}});
        assert!(apply(&cx, asked.clone()).await.0);
        assert_eq!(spec(&cx, "PeerAuthentication", &space, "default").await.unwrap()["mtls"]["mode"], stored);
        let (changed, report) = apply(&cx, asked).await;
        assert!(!changed && report.objects[0].action == Action::Unchanged);
    }
    assert!(remove(&cx, json!({"scope": scope, "kind": "mtls"})).await);
    assert_eq!(spec(&cx, "PeerAuthentication", &space, "default").await, None);
    assert!(!remove(&cx, json!({"scope": scope, "kind": "mtls"})).await);
}

#[tokio::test]
async fn all_parameters_yield_objects_valid_for_istios_schema() {
    let (cx, space) = namespace("policy-all").await;
    let workload = json!({"of": "workload", "namespace": space, "labels": {"app": "web"}});
    let of_space = json!({"of": "namespace", "namespace": space});
    let rule = json!({
        "principals": ["*/ns/shop/sa/web"], "namespaces": ["shop"], "methods": ["GET"], "paths": ["/a/*"], "ports": [80],
    });
    for asked in [
        json!({"scope": workload, "name": "a", "mtls": {"mode": "strict", "ports": {"8080": "disable"}}}),
        json!({"scope": workload, "name": "b", "access": {"action": "allow", "rules": [rule]}}),
        json!({"scope": of_space, "name": "c", "access": {"action": "deny", "rules": [rule, {"ports": [8081]}]}}),
        json!({"scope": {"of": "mesh", "namespace": space}, "preset": "strict-mtls-policy-operation"}),
        json!({"scope": of_space, "preset": "deny-all-policy-operation"}),
    ] {
        let (changed, report) = apply(&cx, asked.clone()).await;
        assert!(changed, "{asked}: {report:?}");
        assert!(!apply(&cx, asked.clone()).await.0, "{asked}, again");
    }
    let deny_all = spec(&cx, "AuthorizationPolicy", &space, "deny-all").await.unwrap();
    assert_eq!(deny_all, json!({"action": "ALLOW"}));
}

#[tokio::test]
async fn a_second_policy_for_the_same_is_not_written_in_silence() {
    let (cx, space) = namespace("policy-rival").await;
    // What the predecessor made: another name for the same namespace.
    write(
        &cx,
        json!({
            "apiVersion": SECURITY, "kind": "PeerAuthentication", "metadata": {"name": "strict", "namespace": space},
            "spec": {"mtls": {"mode": "STRICT"}},
        }),
    )
    .await;
    let asked = json!({"scope": {"of": "namespace", "namespace": space}, "mtls": {"mode": "disable"}});
    let (code, text) = refused(&cx, asked.clone()).await;
    assert_eq!(code, "SH3302");
    assert!(text.ends_with(&format!("PeerAuthentication {space}/strict")), "{text}");
    assert_eq!(spec(&cx, "PeerAuthentication", &space, "default").await, None);
    let mut forced = asked;
    forced["force"] = true.into();
    let (changed, report) = apply(&cx, forced).await;
    assert!(changed && report.warnings.contains(&text), "{report:?}");
}

#[tokio::test]
async fn strict_warns_of_pods_and_rules_that_are_really_there() {
    let (cx, space) = namespace("policy-warn").await;
    let pod = |name: &str, container: &str| {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": space},
            "spec": {"containers": [{"name": container, "image": "example.invalid/a:1"}]},
        })
    };
    write(&cx, pod("bare", "app")).await;
    write(&cx, pod("meshed", "istio-proxy")).await;
    write(
        &cx,
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
            "metadata": {"name": "plain", "namespace": space},
            "spec": {"host": "web", "trafficPolicy": {"tls": {"mode": "DISABLE"}}},
        }),
    )
    .await;
    let asked = json!({"scope": {"of": "namespace", "namespace": space}, "mtls": {"mode": "strict"}, "dry_run": true});
    let (changed, report) = apply(&cx, asked).await;
    assert!(!changed && report.dry_run);
    assert_eq!(report.warnings.len(), 2, "{report:?}");
    assert!(report.warnings[0].ends_with(&format!("{space}/bare")), "{report:?}");
    assert!(report.warnings[1].ends_with(&format!("DestinationRule {space}/plain")), "{report:?}");
    assert_eq!(spec(&cx, "PeerAuthentication", &space, "default").await, None);
}
