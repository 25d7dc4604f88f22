//! Upgrade by revision, removal and what `mesh.status` and `mesh.precheck` tell, on a real API server with simulated
//! nodes. Needs Istio's charts (see `support/charts.rs`) and helm.

use crate::mesh_target;
use crate::support;

use mesh_target::{MeshEnv, changes, minimal, parts};
use sailhand::error::Classify;
use serde_json::{Value, json};

fn canary(until: &str) -> Value {
    json!({"version": "1.30.3", "strategy": "canary", "until": until, "wait": "1m"})
}

/// A workload with a proxy. The label keeps it from the injector, which nobody plays here: the test does its work.
fn shop(revision: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {
                "labels": {"app": "web", "sidecar.istio.io/inject": "false"},
                "annotations": {"istio.io/rev": revision},
            },
            "spec": {"containers": [{"name": "web", "image": "web:1"}, {"name": "istio-proxy", "image": "proxyv2:1.30.3"}]},
        }},
    })
}

async fn code(mesh: &MeshEnv, verb: &str, params: Value) -> (String, String) {
    let failure = mesh.run(verb, params).await.unwrap_err();
    (failure.error.code().to_string(), failure.error.to_string())
}

#[tokio::test]
async fn mesh_moves_to_a_revision_by_stages_and_back() {
    if support::charts::are_missing() {
        return;
    }
    let mesh = MeshEnv::start().await;
    mesh.done("mesh.install", minimal("1.28.10")).await;
    let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"istio-injection": "enabled"}}});
    mesh.write("somebody", &space).await;
    mesh.write("somebody", &shop("default")).await;
    let label = async || mesh.get("v1", "Namespace", None, "shop").await.unwrap()["metadata"]["labels"].clone();
    let validator = async || {
        let found = mesh
            .get("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", None, "istiod-default-validator")
            .await;
        found.unwrap()["webhooks"][0]["clientConfig"]["service"]["name"].clone()
    };

    // In place it would be two steps at once.
    let (refused, text) = code(&mesh, "mesh.upgrade", json!({"version": "1.30.3"})).await;
    assert_eq!(refused, "SH3206", "{text}");

    let mut asked = canary("remove");
    asked["dry_run"] = json!(true);
    let (changed, report) = mesh.done("mesh.upgrade", asked).await;
    assert!(!changed);
    let said = report["findings"].to_string();
    for told in [
        "would move to revision 1-30-3: namespace shop",
        "2 pods would be restarted, 5 at a time",
        "revision default would be removed",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }

    let (changed, report) = mesh.done("mesh.upgrade", canary("control-plane")).await;
    assert!(changed);
    assert_eq!(parts(&report), ["istio-base", "istiod-1-30-3"]);
    assert_eq!(validator().await, "istiod", "the default validator stays with the old one");
    assert_eq!(label().await["istio-injection"], "enabled");
    let (changed, report) = mesh.done("mesh.upgrade", canary("control-plane")).await;
    assert!(!changed, "{:?}", changes(&report));

    mesh.done("mesh.upgrade", canary("move")).await;
    assert_eq!(
        (label().await["istio.io/rev"].clone(), label().await["istio-injection"].clone()),
        (json!("1-30-3"), Value::Null)
    );

    // Restarted, but the proxies do not follow, as nobody injects: that is told, and nothing old is removed.
    let mut impatient = canary("remove");
    impatient["wait"] = json!("15s");
    let (behind, text) = code(&mesh, "mesh.upgrade", impatient).await;
    assert_eq!(behind, "SH3211", "{text}");
    assert!(text.contains("2 of 2") && text.contains("shop/web-"), "{text}");
    let web = mesh.get("apps/v1", "Deployment", Some("shop"), "web").await.unwrap();
    let template = &web["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(template["sailhand.meshery.io/proxy"], "1-30-3", "restarted once");
    assert!(mesh.get("apps/v1", "Deployment", Some("istio-system"), "istiod").await.is_some());
    let (used, text) = code(&mesh, "mesh.uninstall", json!({"revision": "default"})).await;
    assert_eq!((used.as_str(), text.contains("2 proxies")), ("SH3209", true), "{text}");

    // What an injector would do.
    mesh.write("somebody", &shop("1-30-3")).await;
    let (changed, _) = mesh.done("mesh.upgrade", canary("remove")).await;
    assert!(changed);
    assert_eq!(validator().await, "istiod-1-30-3");
    assert!(mesh.get("apps/v1", "Deployment", Some("istio-system"), "istiod").await.is_none());
    let (changed, report) = mesh.done("mesh.upgrade", canary("remove")).await;
    assert!(!changed, "{:?} {:?}", changes(&report), report["moved"]);
}

#[tokio::test]
async fn canary_is_rolled_back_and_mesh_is_removed() {
    if support::charts::are_missing() {
        return;
    }
    let mesh = MeshEnv::start().await;
    mesh.done("mesh.install", minimal("1.28.10")).await;
    let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"istio-injection": "enabled"}}});
    mesh.write("somebody", &space).await;
    mesh.done("mesh.upgrade", canary("move")).await;
    let back = json!({"version": "1.30.3", "strategy": "canary", "rollback": true, "wait": "1m"});
    mesh.done("mesh.upgrade", back).await;
    let labels = mesh.get("v1", "Namespace", None, "shop").await.unwrap()["metadata"]["labels"].clone();
    assert_eq!((&labels["istio-injection"], &labels["istio.io/rev"]), (&json!("enabled"), &Value::Null));
    assert!(mesh.get("apps/v1", "Deployment", Some("istio-system"), "istiod-1-30-3").await.is_none());
    assert!(mesh.get("apps/v1", "Deployment", Some("istio-system"), "istiod").await.is_some());

    let (_, status) = mesh.done("mesh.status", json!({})).await;
    assert_eq!(status["control_planes"][0]["installed_by"], "sailhand", "{status:#}");
    assert_eq!(status["control_planes"][0]["version"], "1.28.10");
    assert!(status["parts"].as_array().unwrap().iter().all(|part| part["drift"] == json!([])), "{status:#}");
    assert_eq!(status["namespaces"][0], json!({"namespace": "shop", "revision": "default", "ambient": false}));

    let (used, text) = code(&mesh, "mesh.uninstall", json!({"all": true, "wait": "30s"})).await;
    assert_eq!((used.as_str(), text.contains("namespace shop")), ("SH3209", true), "{text}");
    let (rejected, _) = code(&mesh, "mesh.uninstall", json!({"purge": true, "confirm": "somewhere"})).await;
    assert_eq!(rejected, "SH1005");
    let (changed, report) = mesh.done("mesh.uninstall", json!({"all": true, "force": true, "wait": "30s"})).await;
    assert!(changed);
    assert_eq!(parts(&report), ["istiod-default", "istio-base"]);
    assert!(report["leftovers"][0].as_str().unwrap().starts_with("CustomResourceDefinition: "), "{report:#}");
    let (changed, report) = mesh.done("mesh.uninstall", json!({"all": true, "wait": "30s"})).await;
    assert!(!changed, "{:?}", changes(&report));
    let (_, status) = mesh.done("mesh.status", json!({})).await;
    assert_eq!(status["findings"][0]["check"], "control-plane", "an empty cluster is told as one: {status:#}");

    let route = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "users", "namespace": "shop"},
        "spec": {"hosts": ["a"], "http": [{"route": [{"destination": {"host": "a"}}]}]},
    });
    mesh.write("somebody", &route).await;
    let asked = json!({"purge": true, "dry_run": true});
    let (_, report) = mesh.done("mesh.uninstall", asked).await;
    let said = report["findings"].to_string();
    assert!(said.contains("1 of VirtualService (shop/users)"), "{said}");
    assert_eq!(report["moved"], json!(["namespace shop, without its mesh labels"]));

    let purge = json!({"purge": true, "confirm": "test", "wait": "30s", "force": true});
    let (_, report) = mesh.done("mesh.uninstall", purge.clone()).await;
    assert_eq!(report["leftovers"], Value::Null, "{report:#}");
    assert_eq!(mesh.list("apiextensions.k8s.io/v1", "CustomResourceDefinition").await.len(), 0);
    let labels = mesh.get("v1", "Namespace", None, "shop").await.unwrap()["metadata"]["labels"].clone();
    assert_eq!(labels["istio-injection"], Value::Null);
    let (changed, report) = mesh.done("mesh.uninstall", purge.clone()).await;
    assert!(!changed, "{:?}", changes(&report));
    mesh.write("somebody", &space).await;
    let (changed, report) = mesh.done("mesh.uninstall", purge).await;
    assert!(changed, "a label alone is a change: {report:#}");
}

/// The cluster marks such pods some time after their Deployment is gone: here never.
#[tokio::test]
async fn pods_of_a_deleted_workload_do_not_block_uninstall() {
    if support::charts::are_missing() {
        return;
    }
    let mesh = MeshEnv::start().await;
    mesh.done("mesh.install", minimal("1.30.3")).await;
    let apply = json!({
        "name": "shop", "namespace": "shop", "create_namespace": true, "wait": "30s",
        "manifest": shop("default").to_string(),
    });
    mesh.done("config.apply", apply).await;
    let (used, text) = code(&mesh, "mesh.uninstall", json!({"all": true})).await;
    assert_eq!((used.as_str(), text.contains("2 proxies such as shop/web-")), ("SH3209", true), "{text}");

    mesh.plane.kill_controllers();
    mesh.done("config.delete", json!({"name": "shop", "namespace": "shop", "wait": "30s"})).await;
    let pods = mesh.list("v1", "Pod").await;
    let unmarked =
        |pod: &&Value| pod["metadata"]["namespace"] == "shop" && pod["metadata"]["deletionTimestamp"].is_null();
    assert_eq!(pods.iter().filter(unmarked).count(), 2, "nobody has marked them");
    let (changed, report) = mesh.done("mesh.uninstall", json!({"all": true})).await;
    assert!(changed);
    assert!(!report["leftovers"].to_string().contains("with a proxy"), "{report:#}");
}

#[tokio::test]
async fn helm_installations_are_refused_and_taken_over_on_request() {
    if support::charts::are_missing() {
        return;
    }
    let mesh = MeshEnv::start().await;
    let (_, before) = mesh.done("mesh.precheck", minimal_check()).await;
    assert_eq!(before["ready"], true, "{before:#}");
    let helm = |release: &str, chart: &str| {
        let output = std::process::Command::new(support::tools::program("helm", "HELM_BIN"))
            .args(["install", release, "--namespace", "istio-system", "--create-namespace", "--kubeconfig"])
            .arg(mesh.plane.kubeconfig())
            .arg(support::charts::folder().join("istio-1.30.3").join(chart))
            .args(["--set", "global.hub=registry.istio.io/release,global.tag=1.30.3"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    helm("istio-base", "base");
    helm("istiod", "istiod");
    let (_, status) = mesh.done("mesh.status", json!({})).await;
    assert_eq!(status["control_planes"][0]["installed_by"], "helm", "{status:#}");
    assert_eq!(status["parts"], json!([]));
    let (_, check) = mesh.done("mesh.precheck", minimal_check()).await;
    assert_eq!(check["ready"], false);
    let (refused, text) = code(&mesh, "mesh.install", minimal("1.30.3")).await;
    assert_eq!((refused.as_str(), text.contains("installed by Helm")), ("SH3207", true), "{text}");
    let (refused, text) = code(&mesh, "mesh.upgrade", json!({"version": "1.30.3"})).await;
    assert_eq!((refused.as_str(), text.contains("revision default by Helm")), ("SH3210", true), "{text}");
    let (changed, report) = mesh.done("mesh.uninstall", json!({"all": true})).await;
    assert!(!changed && report["findings"].to_string().contains("installed by Helm"), "{report:#}");
    let (used, text) = code(&mesh, "mesh.uninstall", json!({"purge": true, "confirm": "test"})).await;
    assert_eq!((used.as_str(), text.contains("installed by Helm")), ("SH3209", true), "{text}");
    let mut adopting = minimal("1.30.3");
    adopting["adopt"] = json!(true);
    let (_, report) = mesh.done("mesh.install", adopting).await;
    let owner = report["findings"].as_array().unwrap().iter().find(|it| it["check"] == "owner").unwrap();
    assert_eq!(owner["severity"], "warning", "{owner}");
    let (_, status) = mesh.done("mesh.status", json!({})).await;
    assert_eq!(status["control_planes"][0]["installed_by"], "sailhand", "{status:#}");
    let (changed, report) = mesh.done("mesh.install", minimal("1.30.3")).await;
    assert!(!changed, "{:?}", changes(&report));
}

fn minimal_check() -> Value {
    json!({"version": "1.30.3", "profile": "minimal"})
}

#[tokio::test]
async fn istioctl_installations_are_recognized() {
    if support::charts::are_missing() {
        return;
    }
    let mesh = MeshEnv::start().await;
    let output = std::process::Command::new(support::tools::program("istioctl", "ISTIOCTL_BIN"))
        .args([
            "install",
            "--skip-confirmation",
            "--set",
            "profile=minimal",
            "--readiness-timeout",
            "60s",
            "--kubeconfig",
        ])
        .arg(mesh.plane.kubeconfig())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (_, status) = mesh.done("mesh.status", json!({})).await;
    assert_eq!(status["control_planes"][0]["installed_by"], "istioctl", "{status:#}");
    let by: Vec<_> = status["tags"].as_array().unwrap().iter().map(|tag| (&tag["tag"], &tag["installed_by"])).collect();
    assert!(by.iter().all(|(_, by)| **by == "istioctl"), "{status:#}");
    let (refused, _) = code(&mesh, "mesh.install", minimal("1.30.3")).await;
    assert_eq!(refused, "SH3207");
}
