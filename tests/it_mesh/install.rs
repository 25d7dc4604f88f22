//! `mesh.install` on a real API server with simulated nodes. Needs Istio's charts (see `support/charts.rs`) and helm.

use crate::cluster_target;
use crate::mesh_target;
use crate::support;

use std::time::Duration;

use mesh_target::{MeshEnv, changes, minimal, parts};
use sailhand::error::Classify;
use serde_json::{Value, json};
use support::eventually::eventually;

/// Until istiod has raised the policy of every validator.
async fn raised(mesh: &MeshEnv) -> Vec<Value> {
    eventually("every validator says Fail", Duration::from_secs(20), async || {
        let all = mesh.list("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration").await;
        all.iter().all(|one| one["webhooks"][0]["failurePolicy"] == "Fail").then_some(all)
    })
    .await
}

#[tokio::test]
async fn a_mesh_is_installed_in_order_and_the_second_run_writes_nothing() {
    if support::charts::are_missing() {
        return;
    }
    let mesh = MeshEnv::start().await;
    let (cx, steps) = mesh.context();
    let first = mesh.registry.get("mesh.install").unwrap().run(&cx, minimal("1.30.3")).await.unwrap();
    let (changed, report) = first.into_parts();
    assert!(changed);
    assert_eq!(parts(&report), ["istio-base", "istiod-default"]);
    assert!(report["parts"].as_array().unwrap().iter().all(|part| part["ready"] == true), "{report:#}");
    assert!(steps.contain("apply", "base") && steps.contain("wait", "istiod default"), "{:?}", steps.reported());

    let crds = mesh.list("apiextensions.k8s.io/v1", "CustomResourceDefinition").await;
    assert_eq!(crds.len(), 15);
    let istiod = mesh.get("apps/v1", "Deployment", Some("istio-system"), "istiod").await.unwrap();
    let image = istiod["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap();
    assert_eq!(image, "registry.istio.io/release/pilot:1.30.3");
    assert_eq!(istiod["metadata"]["labels"]["app.kubernetes.io/version"], "1.30.3", "the source chart is stamped");

    // istiod's own writes are no difference: neither its certificates nor the policy that it has raised.
    let validators = raised(&mesh).await;
    assert_eq!(validators.len(), 2);
    let before = mesh.versions().await;
    let (changed, report) = mesh.done("mesh.install", minimal("1.30.3")).await;
    assert!(!changed, "{:?}", changes(&report));
    assert!(!report["findings"].to_string().contains("unknown Helm value"), "{report:#}");
    assert_eq!(mesh.versions().await, before);

    let mut slipped = minimal("1.30.3");
    slipped["values"] = json!({"meshconfig": {"accessLogFile": "/dev/stdout"}});
    slipped["component_values"] = json!({"base": {"defaultRevison": "a"}});
    slipped["dry_run"] = json!(true);
    let (_, report) = mesh.done("mesh.install", slipped).await;
    let said: Vec<_> = report["findings"].as_array().unwrap().iter().filter(|it| it["check"] == "values").collect();
    assert_eq!(said.len(), 2, "{report:#}");
    assert!(said[0]["message"].as_str().unwrap().ends_with("did you mean defaultRevision?"), "{report:#}");
    assert!(said[1]["message"].as_str().unwrap().ends_with("did you mean meshConfig?"), "{report:#}");
}

#[tokio::test]
async fn drift_is_corrected_and_fields_of_others_remain() {
    if support::charts::are_missing() {
        return;
    }
    let mesh = MeshEnv::start().await;
    mesh.done("mesh.install", minimal("1.30.3")).await;
    raised(&mesh).await;
    // Somebody changes what is ours ...
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "istiod", "namespace": "istio-system"},
        "spec": {"selector": {"app": "somebody-elses"}},
    });
    mesh.write("somebody", &service).await;
    let (_, dry) = mesh
        .done("mesh.install", json!({"version": "1.30.3", "profile": "minimal", "dry_run": true, "adopt": true}))
        .await;
    assert_eq!(changes(&dry), [r#""configured" "Service" "istiod""#]);
    // ... and without consent it is not taken back, as the other has claimed it.
    let failure = mesh.run("mesh.install", minimal("1.30.3")).await.unwrap_err();
    assert_eq!(failure.error.code().as_str(), "SH3016");
    let mut params = minimal("1.30.3");
    params["adopt"] = json!(true);
    let (changed, report) = mesh.done("mesh.install", params).await;
    assert!(changed);
    assert_eq!(changes(&report), [r#""configured" "Service" "istiod""#]);
    let all = mesh.list("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration").await;
    assert!(
        all.iter().all(|one| one["webhooks"][0]["failurePolicy"] == "Fail"),
        "istiod's is not taken back, forced or not"
    );

    // A gateway whose pods are refused, as the API server reaches no injector here: it is there, and not ready.
    let gateways = json!([{"name": "edge", "values": {"service": {"type": "ClusterIP"}}}]);
    mesh.done("mesh.install", json!({"version": "1.30.3", "gateways": gateways, "wait": "0s"})).await;
    let waiting = eventually("the refusal is known", Duration::from_secs(20), async || {
        let (_, status) = mesh.done("mesh.status", json!({})).await;
        let ready: Vec<_> = status["parts"].as_array().unwrap().iter().map(|part| part["ready"].clone()).collect();
        assert_eq!(ready, [json!(true), json!(true), json!(false)], "{status:#}");
        let waiting = status["parts"][2]["waiting"].to_string();
        waiting.contains("FailedCreate").then_some(waiting)
    });
    assert!(waiting.await.contains("Deployment istio-system/edge"));
    let (_, status) = mesh.done("mesh.status", json!({})).await;
    assert!(status["parts"].as_array().unwrap().iter().all(|part| part["drift"] == json!([])), "{status:#}");
}

#[tokio::test]
async fn interrupted_installation_is_completed_by_the_next_run() {
    if support::charts::are_missing() {
        return;
    }
    let mut mesh = MeshEnv::start().await;
    mesh.without_istiod();
    // The control plane never comes up: the part fails, and the result says which and why.
    let mut params = minimal("1.30.3");
    params["wait"] = json!("3s");
    let failure = mesh.run("mesh.install", params).await.unwrap_err();
    assert_eq!(failure.error.code().as_str(), "SH3009");
    assert!(failure.error.to_string().contains("istio-sidecar-injector"), "{}", failure.error);
    let (changed, report) = failure.report.unwrap().into_parts();
    assert!(changed && report["parts"][0]["ready"] == true && report["parts"][1]["ready"] == false, "{report:#}");
    // Half of it goes, as if a process had died between two writes.
    let gone = cluster_target::object("apps/v1", "Deployment", Some("istio-system"), "istiod");
    let cluster = mesh.cluster().await;
    let kind = cluster.kind(&gone.api_version, &gone.kind).await.unwrap().unwrap();
    let api: kube::Api<kube::core::DynamicObject> =
        kube::Api::namespaced_with(cluster.client().await, "istio-system", &kind.resource);
    api.delete("istiod", &kube::api::DeleteParams::default()).await.unwrap();
    let params = json!({"version": "1.30.3", "profile": "minimal", "wait": "0s"});
    let (changed, report) = mesh.done("mesh.install", params).await;
    assert!(changed);
    assert_eq!(changes(&report), [r#""created" "Deployment" "istiod""#]);
}

#[tokio::test]
async fn impossible_changes_are_refused_before_the_first_write() {
    if support::charts::are_missing() {
        return;
    }
    let mesh = MeshEnv::start().await;
    let before = mesh.versions().await;
    let table = [
        (json!({"version": "1.24.6"}), "SH3205", "1.28 to 1.31"),
        (json!({"version": "1.5.10", "force": true}), "SH3205", "Istio 1.31"),
        (json!({"version": "1.29.1"}), "SH3201", "it has base of "),
        (json!({"version": "1.30.3", "profile": "demo", "mode": "ambient"}), "SH3208", "contradict"),
        (json!({"version": "1.30.3", "tags": ["default"]}), "SH3208", "istio-injection=enabled means it already"),
        (json!({"version": "1.30.3", "gateways": [{"name": "a"}, {"name": "a"}]}), "SH3208", "named twice"),
        (
            json!({"version": "1.30.3", "gateway_api": "kind: A\napiVersion: v1\nmetadata: {name: a}"}),
            "SH1005",
            "no CRD of Gateways",
        ),
        (json!({"version": "1.30.3", "values": {"compatibilityVersion": "1.1"}}), "SH3204", "compatibility"),
    ];
    for (params, code, text) in table {
        let failure = mesh.run("mesh.install", params.clone()).await.unwrap_err();
        assert_eq!(failure.error.code().as_str(), code, "{params}: {}", failure.error);
        assert!(failure.error.to_string().contains(text), "{params}: {}", failure.error);
    }
    assert_eq!(mesh.versions().await, before);
}
