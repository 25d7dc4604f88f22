//! The ambient mode with the Gateway API, and an upgrade in place with what follows it, on a real API server with
//! simulated nodes. Needs Istio's charts (see `support/charts.rs`) and helm.

use crate::mesh_settings;
use crate::mesh_target;
use crate::support;

use mesh_target::{MeshEnv, changes, minimal, parts};
use sailhand::error::Classify;
use serde_json::{Value, json};

#[tokio::test]
async fn ambient_profile_installs_node_components_and_gateway_api_crds() {
    if support::charts::are_missing() {
        return;
    }
    let mesh = MeshEnv::start().await;
    let ambient = json!({"version": "1.30.3", "profile": "ambient", "gateway_api": support::gateway_api::definitions(), "wait": "2m"});
    let (changed, report) = mesh.done("mesh.install", ambient.clone()).await;
    assert!(changed);
    assert_eq!(parts(&report), ["istio-base", "istio-gateway-api", "istiod-default", "istio-cni", "istio-ztunnel"]);
    assert!(report["parts"].as_array().unwrap().iter().all(|part| part["ready"] == true), "{report:#}");
    for name in ["istio-cni-node", "ztunnel"] {
        let set = mesh.get("apps/v1", "DaemonSet", Some("istio-system"), name).await.unwrap();
        assert_eq!(set["status"]["numberReady"], 3, "one on each node: {set:#}");
    }
    let before = mesh.versions().await;
    let (changed, report) = mesh.done("mesh.install", ambient).await;
    assert!(!changed, "{:?}", changes(&report));
    assert_eq!(mesh.versions().await, before);
    let (_, status) = mesh.done("mesh.status", json!({})).await;
    assert!(status["gateway_api"].as_str().is_some_and(|version| version.starts_with('v')), "{status:#}");

    let (_, report) = mesh.done("mesh.uninstall", json!({"all": true, "wait": "1m"})).await;
    assert_eq!(parts(&report), ["istio-ztunnel", "istio-cni", "istiod-default", "istio-base"]);
    let crd = "gateways.gateway.networking.k8s.io";
    let left = mesh.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, crd).await;
    assert!(left.is_some(), "the Gateway API is not Istio's alone, and stays");
}

/// A workload with a proxy of the default revision; the label keeps it from the injector, which nobody plays here.
fn shop(proxy: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {
                "labels": {"app": "web", "sidecar.istio.io/inject": "false"},
                "annotations": {"istio.io/rev": "default"},
            },
            "spec": {"containers": [
                {"name": "web", "image": "web:1"},
                {"name": "istio-proxy", "image": format!("registry.istio.io/release/proxyv2:{proxy}")},
            ]},
        }},
    })
}

#[tokio::test]
async fn in_place_upgrade_updates_or_reports_proxies() {
    if support::charts::are_missing() {
        return;
    }
    let charts = support::charts::one_minor_apart();
    let source = charts.path().to_string_lossy().into_owned();
    let mesh = MeshEnv::with(sailhand::config::Charts { source, ..mesh_settings::settings() }).await;
    mesh.done("mesh.install", minimal("1.28.10")).await;
    let labels = json!({"istio-injection": "enabled"});
    let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": labels}});
    mesh.write("somebody", &space).await;
    mesh.write("somebody", &shop("1.28.10")).await;
    let failure = mesh.run("mesh.upgrade", json!({"version": "1.30.3"})).await.unwrap_err();
    assert!(failure.error.to_string().contains("upgrade to 1.29 first"), "{}", failure.error);
    let upgrade =
        |until: &str, wait: &str| json!({"version": "1.29.2", "strategy": "in-place", "until": until, "wait": wait});
    let mut asked = upgrade("verify", "1m");
    asked["dry_run"] = json!(true);
    let (_, report) = mesh.done("mesh.upgrade", asked).await;
    let said = report["findings"].as_array().unwrap().iter().find(|it| it["check"] == "restart").unwrap();
    assert!(said["message"].as_str().unwrap().contains("2 pods"), "{said}");
    mesh.done("mesh.upgrade", upgrade("control-plane", "1m")).await;
    let web = async || mesh.get("apps/v1", "Deployment", Some("shop"), "web").await.unwrap();
    let mark = |web: &Value| web["spec"]["template"]["metadata"]["annotations"]["sailhand.meshery.io/proxy"].clone();
    assert_eq!(mark(&web().await), Value::Null, "not further than it was asked to go");

    let failure = mesh.run("mesh.upgrade", upgrade("verify", "15s")).await.unwrap_err();
    assert_eq!(failure.error.code().to_string(), "SH3211", "{}", failure.error);
    assert!(failure.error.to_string().contains("shop/web-"), "{}", failure.error);
    assert_eq!(mark(&web().await), "default@1.29.2", "restarted, but nobody injects the new proxy here");

    mesh.write("somebody", &shop("1.29.2")).await;
    mesh.done("mesh.upgrade", upgrade("verify", "1m")).await;
    let (changed, report) = mesh.done("mesh.upgrade", upgrade("verify", "1m")).await;
    assert!(!changed, "{:?}", changes(&report));
    let (_, status) = mesh.done("mesh.status", json!({})).await;
    assert_eq!(status["control_planes"][0]["proxies"], json!({"1.29.2": 2}), "{status:#}");

    // The next step, and one back, which is told of.
    mesh.done("mesh.upgrade", json!({"version": "1.30.3", "wait": "1m"})).await;
    let (_, report) = mesh.done("mesh.upgrade", json!({"version": "1.29.2", "wait": "1m"})).await;
    let said = report["findings"].to_string();
    assert!(said.contains("1.29.2 is older than 1.30.3"), "{said}");
}
