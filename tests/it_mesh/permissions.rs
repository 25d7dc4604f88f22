//! The rights that the Helm chart gives to a worker are enough for what each of its switches is for, and no more: as the
//! service account of the chart, on a real API server. Needs Istio's charts (see `support/charts.rs`) and helm.
#![allow(clippy::disallowed_methods, reason = "other processes have their own time")]

use crate::mesh_target;
use crate::support;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use kube::config::Kubeconfig;
use mesh_target::{MeshEnv, changes, minimal};
use sailhand::error::Classify;
use serde_json::{Value, json};
use support::eventually::eventually;
use support::tools::program;

const ACCOUNT: &str = "system:serviceaccount:sailhand:sailhand";

fn output(mut command: Command, input: Option<&[u8]>) -> String {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.unwrap_or_default()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub fn kubectl(mesh: &MeshEnv, args: &[&str], input: Option<&str>) -> String {
    let mut command = Command::new(program("kubectl", "KUBECTL_BIN"));
    command.arg("--kubeconfig").arg(mesh.plane.kubeconfig()).args(args);
    output(command, input.map(str::as_bytes))
}

/// The chart's roles with these switches on; done when the API server knows.
pub async fn grant(mesh: &MeshEnv, switches: &str, proof: [&str; 2]) {
    let mut command = Command::new(program("helm", "HELM_BIN"));
    command.args(["template", "sailhand", "deploy/helm/sailhand", "--namespace", "sailhand", "--set", switches]);
    command.args(["--set", "podDisruptionBudget.create=false,networkPolicy.create=false,replicas=0"]);
    let roles = output(command, None);
    kubectl(mesh, &["apply", "--filename", "-"], Some(&roles));
    eventually("the rights are there", Duration::from_secs(20), async || {
        let mut command = Command::new(program("kubectl", "KUBECTL_BIN"));
        command.arg("--kubeconfig").arg(mesh.plane.kubeconfig()).args(["auth", "can-i", "--as", ACCOUNT]).args(proof);
        command.output().unwrap().status.success().then_some(())
    })
    .await;
}

/// The kubeconfig of the chart's service account.
pub fn account(mesh: &MeshEnv) -> PathBuf {
    let token = kubectl(mesh, &["create", "token", "sailhand", "--namespace", "sailhand"], None);
    let mut config = serde_json::to_value(Kubeconfig::read_from(mesh.plane.kubeconfig()).unwrap()).unwrap();
    config["users"][0]["user"] = json!({ "token": token.trim() });
    let path = mesh.plane.dir().join("worker.kubeconfig");
    std::fs::write(&path, config.to_string()).unwrap();
    path
}

pub async fn refused(mesh: &MeshEnv, verb: &str, params: Value) -> String {
    let failure = mesh.run(verb, params).await.unwrap_err();
    format!("{} {} {:?}", failure.error.code(), failure.error, failure.report)
}

#[tokio::test]
async fn chart_switches_match_the_permissions_of_their_verbs() {
    if support::charts::are_missing() {
        return;
    }
    let mut mesh = MeshEnv::start().await;
    kubectl(&mesh, &["create", "namespace", "sailhand"], None);
    kubectl(&mesh, &["create", "serviceaccount", "sailhand", "--namespace", "sailhand"], None);
    grant(&mesh, "clusterRole.mesh=false", ["list", "namespaces"]).await;
    mesh.work_as(&account(&mesh));
    let said = refused(&mesh, "mesh.install", minimal("1.28.10")).await;
    assert!(said.contains("SH3003"), "{said}");

    grant(&mesh, "clusterRole.mesh=true", ["escalate", "clusterroles.rbac.authorization.k8s.io"]).await;
    let (_, check) = mesh.done("mesh.precheck", json!({"version": "1.28.10", "profile": "minimal"})).await;
    assert_eq!(check["ready"], true, "{check:#}");
    mesh.done("mesh.install", minimal("1.28.10")).await;
    let (changed, report) = mesh.done("mesh.install", minimal("1.28.10")).await;
    assert!(!changed, "{:?}", changes(&report));
    let canary = json!({"version": "1.30.3", "strategy": "canary", "wait": "1m"});
    mesh.done("mesh.upgrade", canary).await;
    let (_, status) = mesh.done("mesh.status", json!({})).await;
    assert!(status["parts"].as_array().unwrap().iter().all(|part| part["drift"] == json!([])), "{status:#}");
    mesh.done("mesh.uninstall", json!({"all": true, "wait": "30s"})).await;

    let purge = json!({"purge": true, "confirm": "test", "wait": "2m"});
    let said = refused(&mesh, "mesh.uninstall", purge.clone()).await;
    assert!(said.contains("SH3016") && said.contains("SH3003"), "{said}");
    let switches = "clusterRole.mesh=true,clusterRole.meshPurge=true";
    grant(&mesh, switches, ["delete", "customresourcedefinitions.apiextensions.k8s.io"]).await;
    let (_, report) = mesh.done("mesh.uninstall", purge).await;
    assert_eq!(report["leftovers"], Value::Null, "{report:#}");
}

#[tokio::test]
async fn addons_need_no_right_to_grant_more_than_they_read() {
    if support::charts::are_missing() {
        return;
    }
    let mut mesh = MeshEnv::start().await;
    kubectl(&mesh, &["create", "namespace", "sailhand"], None);
    kubectl(&mesh, &["create", "serviceaccount", "sailhand", "--namespace", "sailhand"], None);
    grant(&mesh, "clusterRole.addons=false", ["list", "namespaces"]).await;
    kubectl(&mesh, &["create", "namespace", "watch"], None);
    mesh.work_as(&account(&mesh));
    let addon = |name: &str| json!({"addon": name, "namespace": "watch", "wait": "0s"});
    for name in ["grafana", "prometheus"] {
        let said = refused(&mesh, "addon.apply", addon(name)).await;
        assert!(said.contains("SH3003"), "{said}");
    }
    grant(&mesh, "clusterRole.addons=true", ["list", "cronjobs.batch"]).await;
    for name in ["grafana", "prometheus", "kiali"] {
        mesh.done("addon.apply", addon(name)).await;
        let (changed, _) = mesh.done("addon.remove", json!({"addon": name, "namespace": "watch", "wait": "30s"})).await;
        assert!(changed, "{name}");
    }
}

#[tokio::test]
async fn analysis_permissions_need_one_switch_and_secrets_another() {
    let mut mesh = MeshEnv::start().await;
    kubectl(&mesh, &["create", "namespace", "sailhand"], None);
    kubectl(&mesh, &["create", "serviceaccount", "sailhand", "--namespace", "sailhand"], None);
    grant(&mesh, "clusterRole.analysis=false", ["list", "namespaces"]).await;
    mesh.work_as(&account(&mesh));
    let unread = async |verb: &str, params: Value| {
        let (_, report) = mesh.run(verb, params).await.unwrap_or_else(|it| panic!("{}", it.error)).into_parts();
        let unread = report["unread"].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned());
        unread.collect::<Vec<_>>()
    };
    let said = unread("config.analyze", json!({})).await.join("\n");
    assert!(said.contains("nodes: ") && said.contains("serviceentries"), "{said}");

    grant(&mesh, "clusterRole.analysis=true", ["watch", "nodes"]).await;
    for (verb, params) in [("config.analyze", json!({})), ("config.watch-analyze", json!({"duration": "1s"}))] {
        let said = unread(verb, params).await;
        assert!(!said.is_empty() && said.iter().all(|what| what.starts_with("secrets ")), "{verb}: {said:?}");
    }
    grant(&mesh, "clusterRole.analysis=true,clusterRole.analysisSecrets=true", ["list", "secrets"]).await;
    for (verb, params) in [("config.analyze", json!({})), ("config.watch-analyze", json!({"duration": "1s"}))] {
        assert_eq!(unread(verb, params).await, [""; 0], "{verb}");
    }
}
