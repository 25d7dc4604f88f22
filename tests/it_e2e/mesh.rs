//! Istio's whole life, from the command line and by CloudEvents that are written by hand, through a real bus and a real
//! worker process to a real API server with simulated nodes: install, Bookinfo, every scenario, addons, upgrade by
//! revision, uninstall. Needs Istio's charts (see `support/charts.rs`) and helm. What requests meet is in `real/`.

use crate::mesh_settings;
use crate::support;

use std::process::Stdio;

use kube::config::{KubeConfigOptions, Kubeconfig};
use sailhand::event::{CommandKey, Outcome, ResultData};
use serde_json::{Value, json};
use support::bookinfo;
use support::own_control_plane::ControlPlane;
use support::worker::{Worker, WorkerEnv};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::task::JoinHandle;

/// Versions that the plain application does not have.
const VERSIONS: [(&str, &str); 4] =
    [("details", "v2"), ("ratings", "v2"), ("ratings", "v2-mysql"), ("ratings", "v2-mysql-vm")];

/// How commands are sent.
#[derive(Clone, Copy)]
enum By {
    CommandLine,
    CloudEvents,
}

struct CliEnv {
    by: By,
    test_env: WorkerEnv,
    standin: JoinHandle<()>,
    _worker: Worker,
    _plane: ControlPlane,
}

impl CliEnv {
    async fn start(by: By) -> Self {
        let plane = ControlPlane::start().await;
        let kubeconfig = plane.kubeconfig();
        let test_env = WorkerEnv::on(support::nats::NatsServer::start().await, |config| {
            config.targets.get_mut("dev").unwrap().kubeconfig = Some(kubeconfig.clone());
            config.charts = mesh_settings::settings();
            config.charts.source = support::charts::folder().to_string_lossy().into_owned();
        })
        .await;
        let admin = Kubeconfig::read_from(&kubeconfig).unwrap();
        let admin = kube::Config::from_custom_kubeconfig(admin, &KubeConfigOptions::default()).await.unwrap();
        let standin = tokio::spawn(support::istiod::without_validation(kube::Client::try_from(admin).unwrap()));
        let worker = test_env.worker("w1").await;
        Self { by, test_env, standin, _worker: worker, _plane: plane }
    }

    async fn run(&self, verb: &str, params: Value) -> ResultData {
        let result = match self.by {
            By::CommandLine => self.submit(verb, &params).await,
            By::CloudEvents => self.publish(verb, &params).await,
        };
        assert_eq!(result.outcome, Outcome::Succeeded, "{verb} {params}: {:?} {:?}", result.error, result.report);
        result
    }

    /// `sailhand submit --wait`; its last line is the result.
    async fn submit(&self, verb: &str, params: &Value) -> ResultData {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sailhand"))
            .args(["--nats-url", &self.test_env.nats.url(), "submit", verb, "--target", "dev", "--wait", "--yes"])
            .args(["--output", "json", "--file", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(params.to_string().as_bytes()).await.unwrap();
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let last: Value = text.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_else(|| {
            panic!("{verb} {params}: {text}{}", String::from_utf8_lossy(&output.stderr));
        });
        let result: ResultData = serde_json::from_value(last["data"].clone()).unwrap();
        assert_eq!(output.status.success(), result.outcome == Outcome::Succeeded, "the exit code tells the outcome");
        result
    }

    /// An event as any program writes it.
    async fn publish(&self, verb: &str, params: &Value) -> ResultData {
        let (source, id) = ("/a/pipeline", uuid::Uuid::new_v4().to_string());
        let event = json!({
            "specversion": "1.0", "id": id, "source": source, "subject": "dev",
            "type": format!("io.meshery.istio.command.{verb}.v1"), "data": params,
        });
        let context = self.test_env.client.bus().context();
        let sent = context.publish(format!("istio.cmd.dev.{verb}"), event.to_string().into()).await.unwrap();
        sent.await.unwrap();
        self.test_env.result(&CommandKey::new(source, &id)).await
    }

    /// The command, and again, which changes nothing.
    async fn twice(&self, verb: &str, params: Value) -> Value {
        let first = self.run(verb, params.clone()).await;
        assert!(first.changed, "{verb} {params}");
        let again = self.run(verb, params.clone()).await;
        assert!(!again.changed, "{verb} {params}, again: {:?}", again.report);
        again.report.unwrap_or_default()
    }

    async fn live(&self) {
        self.twice("mesh.install", json!({"version": "1.28.10", "profile": "minimal", "wait": "2m"})).await;
        let bookinfo = json!({"application": "bookinfo", "namespace": "shop", "wait": "1m"});
        self.twice("sample.deploy", bookinfo).await;
        let manifest: Vec<_> = VERSIONS.iter().map(|(app, version)| deployment(app, version).to_string()).collect();
        let more = json!({"name": "versions", "namespace": "shop", "manifest": manifest.join("\n---\n"), "wait": "1m"});
        self.twice("config.apply", more).await;
        // Not before Bookinfo: where no container runs, nobody answers the injection webhook, and no pod would start.
        self.twice("namespace.label", json!({"namespace": "shop", "mode": "enabled"})).await;
        for scenario in bookinfo::SCENARIOS {
            self.twice("traffic.apply", json!({"namespace": "shop", "scenario": scenario})).await;
        }
        let scope = json!({"of": "namespace", "namespace": "shop"});
        self.twice("policy.apply", json!({"scope": scope, "mtls": {"mode": "strict"}})).await;
        for addon in ["prometheus", "grafana", "kiali", "jaeger", "loki"] {
            self.twice("addon.apply", json!({"addon": addon, "wait": "0s"})).await;
        }

        let canary = json!({"version": "1.30.3", "strategy": "canary", "wait": "1m"});
        self.twice("mesh.upgrade", canary).await;
        let status = self.run("mesh.status", json!({})).await.report.unwrap();
        assert_eq!(status["control_planes"].as_array().unwrap().len(), 1, "{status:#}");
        let plane = &status["control_planes"][0];
        assert_eq!((&plane["version"], &plane["revision"]), (&json!("1.30.3"), &json!("1-30-3")), "{status:#}");
        assert_eq!(status["namespaces"][0]["revision"], "1-30-3", "{status:#}");

        for addon in ["prometheus", "grafana", "kiali", "jaeger", "loki"] {
            self.twice("addon.remove", json!({"addon": addon, "wait": "1m"})).await;
        }
        self.twice("policy.remove", json!({"scope": scope, "kind": "mtls"})).await;
        self.twice("traffic.clear", json!({"namespace": "shop"})).await;
        self.twice("config.delete", json!({"name": "versions", "wait": "1m"})).await;
        self.twice("sample.remove", json!({"application": "bookinfo", "namespace": "shop", "wait": "1m"})).await;
        self.twice("namespace.label", json!({"namespace": "shop", "mode": "none", "force": true})).await;
        let left = self.twice("mesh.uninstall", json!({"all": true, "wait": "1m"})).await;
        let leftovers: Vec<_> =
            left["leftovers"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
        assert!(leftovers.len() == 1 && leftovers[0].starts_with("CustomResourceDefinition: "), "{leftovers:?}");
        let purge = json!({"purge": true, "confirm": "dev", "wait": "1m"});
        let left = self.twice("mesh.uninstall", purge).await;
        assert_eq!(left["leftovers"], Value::Null, "{left:#}");
    }
}

fn deployment(app: &str, version: &str) -> Value {
    let labels = json!({"app": app, "version": version});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": format!("{app}-{version}")},
        "spec": {"selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": {"containers": [{"name": app, "image": "example.com/a:1"}]},
        }},
    })
}

impl Drop for CliEnv {
    fn drop(&mut self) {
        self.standin.abort();
    }
}

#[tokio::test]
async fn mesh_lifecycle_works_by_the_command_line() {
    if !support::charts::are_missing() {
        CliEnv::start(By::CommandLine).await.live().await;
    }
}

#[tokio::test]
async fn mesh_lifecycle_works_by_cloud_events() {
    if !support::charts::are_missing() {
        CliEnv::start(By::CloudEvents).await.live().await;
    }
}
