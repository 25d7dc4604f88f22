//! The addons on a real API server with simulated nodes: what is created, what another tool's addon does, and that a
//! health call without an answer is told. tests/real asks a Prometheus that runs.

use crate::cluster_target;

use cluster_target::{context, object, read, unique, write};
use sailhand::cluster::Action;
use sailhand::error::Classify;
use sailhand::task::addon::{AddonReport, Apply, ApplyParams, Remove, RemoveParams};
use sailhand::task::{Failure, Outcome, Task, TaskContext};
use serde_json::{Value, json};

async fn apply(cx: &TaskContext, params: Value) -> Result<Outcome<AddonReport>, Failure<AddonReport>> {
    Apply.run(cx, serde_json::from_value::<ApplyParams>(params).unwrap()).await
}

async fn remove(cx: &TaskContext, space: &str, addon: &str) -> (bool, AddonReport) {
    let params = json!({"addon": addon, "namespace": space, "wait": "60s"});
    Remove.run(cx, serde_json::from_value::<RemoveParams>(params).unwrap()).await.unwrap().into_parts()
}

#[tokio::test]
async fn each_addon_is_created_once_and_removed_whole() {
    let space = unique("addon-all");
    let (cx, _) = context(&space, 1);
    for addon in ["prometheus", "grafana", "kiali", "jaeger", "loki"] {
        let asked = json!({"addon": addon, "namespace": space, "create_namespace": true, "wait": "0s"});
        let (changed, first) = apply(&cx, asked.clone()).await.unwrap().into_parts();
        assert!(changed && !first.healthy, "{addon}");
        let (changed, second) = apply(&cx, asked).await.unwrap().into_parts();
        assert!(!changed, "{addon}: {second:?}");
        assert!(first.warnings.is_empty(), "{addon} finds Prometheus: {first:?}");
    }
    let refused = apply(&cx, json!({"addon": "zipkin", "namespace": space, "wait": "0s"})).await.unwrap_err();
    let owner = format!("Service {space}/zipkin belongs to installation addon-jaeger-{space}");
    assert!(refused.error.to_string().contains(&owner), "{}", refused.error);
    for addon in ["prometheus", "grafana", "kiali", "jaeger", "loki"] {
        let (changed, report) = remove(&cx, &space, addon).await;
        assert!(changed && report.objects.iter().all(|one| one.action == Action::Deleted), "{report:?}");
        for one in &report.objects {
            assert_eq!(read(&cx, &one.object).await, None, "{}", one.object);
        }
        assert!(!remove(&cx, &space, addon).await.0);
    }
}

#[tokio::test]
async fn addons_that_show_metrics_warn_without_a_store() {
    let space = unique("addon-lacks");
    let (cx, _) = context(&space, 1);
    let asked = json!({"addon": "grafana", "namespace": space, "create_namespace": true, "wait": "0s"});
    let (_, report) = apply(&cx, asked).await.unwrap().into_parts();
    let [warning] = report.warnings.as_slice() else { panic!("{report:?}") };
    assert!(
        warning.starts_with(&format!("there is no Service {space}/prometheus, so it has nothing to show")),
        "{warning}"
    );
    let asked = json!({"addon": "grafana", "namespace": space, "wait": "0s", "prometheus_url": "http://prometheus.elsewhere:9090"});
    let (changed, report) = apply(&cx, asked).await.unwrap().into_parts();
    assert!(changed && report.warnings.is_empty(), "{report:?}");
}

#[tokio::test]
async fn exposed_addresses_are_reported() {
    let space = unique("addon-exposed");
    let (cx, _) = context(&space, 1);
    let asked = |expose: &str| json!({"addon": "jaeger", "namespace": space, "create_namespace": true, "wait": "0s", "expose": expose});
    let (_, report) = apply(&cx, asked("node-port")).await.unwrap().into_parts();
    let tracing = object("v1", "Service", Some(&space), "tracing");
    let port = read(&cx, &tracing).await.unwrap()["spec"]["ports"][0]["nodePort"].as_u64().unwrap();
    assert_eq!((report.node_port.map(u64::from), report.load_balancer), (Some(port), None));
    let (changed, again) = apply(&cx, asked("node-port")).await.unwrap().into_parts();
    assert_eq!((changed, again.node_port), (false, report.node_port));

    let (changed, report) = apply(&cx, asked("load-balancer")).await.unwrap().into_parts();
    assert_eq!((changed, report.node_port, report.load_balancer), (true, None, None));
    // As a cloud does it.
    let services: kube::Api<k8s_openapi::api::core::v1::Service> =
        kube::Api::namespaced(cx.cluster().await.unwrap().client().await, &space);
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}});
    let params = kube::api::PatchParams::default();
    services.patch_status("tracing", &params, &kube::api::Patch::Merge(&status)).await.unwrap();
    let (changed, report) = apply(&cx, asked("load-balancer")).await.unwrap().into_parts();
    assert_eq!((changed, report.load_balancer.as_deref()), (false, Some("192.0.2.7")));

    let (changed, report) = apply(&cx, asked("cluster-ip")).await.unwrap().into_parts();
    assert_eq!((changed, report.node_port, report.load_balancer), (true, None, None));
    assert_eq!(read(&cx, &tracing).await.unwrap()["spec"]["ports"][0]["nodePort"], Value::Null);
}

/// The Prometheus of Istio's samples up to 1.20 chose its pods by other labels, which a Deployment cannot change.
#[tokio::test]
async fn a_deployment_with_another_selector_is_replaced() {
    let space = unique("addon-selector");
    let (cx, _) = context(&space, 1);
    write(&cx, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})).await;
    let labels = json!({"app": "prometheus", "component": "server", "release": "prometheus"});
    let pod = json!({"containers": [{"name": "old", "image": "example.invalid/old:1"}]});
    let old = write(
        &cx,
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "prometheus", "namespace": space},
            "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}},
        }),
    )
    .await;
    let asked = json!({"addon": "prometheus", "namespace": space, "wait": "0s", "force": true});
    let (_, report) = apply(&cx, asked).await.unwrap().into_parts();
    let line = report.objects.iter().find(|one| one.object.kind == "Deployment").unwrap();
    assert_eq!(line.action, Action::Recreated, "{report:?}");
    let new = read(&cx, &object("apps/v1", "Deployment", Some(&space), "prometheus")).await.unwrap();
    assert_ne!(new["metadata"]["uid"], old["metadata"]["uid"]);
    assert_eq!(new["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 1);
}

/// The API server of this test may not contact pods, so the pod is ready and nobody answers.
#[tokio::test]
async fn no_answer_to_the_health_call_is_no_success() {
    let space = unique("addon-health");
    let (cx, steps) = context(&space, 1);
    let asked = json!({"addon": "zipkin", "namespace": space, "create_namespace": true, "wait": "10s"});
    let failure = apply(&cx, asked).await.unwrap_err();
    assert_eq!(failure.error.code().as_str(), "SH3304", "{}", failure.error);
    let (changed, report) = failure.report.unwrap().into_parts();
    assert!(changed && !report.healthy);
    assert!(steps.contain("wait", "zipkin"), "{:?}", steps.reported());
}
