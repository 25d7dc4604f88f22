//! The health gate of `mesh.upgrade`: a real Prometheus scrapes scripted proxies, a real API server has the workloads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sailhand::error::{Class, Classify as _};
use sailhand::task::{Failure, TaskContext};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::connections::{one, scraping};
use crate::mesh_target::{MeshEnv, minimal};
use crate::support;
use crate::support::eventually::eventually;
use crate::support::prometheus::{Prometheus, serve};

const WITHIN: Duration = Duration::from_mins(1);
const NEW: &str = "1-30-3";
const WORKLOADS: [&str; 3] = ["api", "pay", "web"];

/// What the proxies report, and what decides that.
struct Script {
    last: Instant,
    /// Good and failed requests.
    counts: BTreeMap<&'static str, (f64, f64)>,
    /// Workloads whose proxies are of the new revision.
    moved: BTreeSet<String>,
    /// Workload that answers half of the requests with 503 while its proxy is of the new revision.
    broken: Option<&'static str>,
}

impl Script {
    /// 100 requests a second to each workload.
    fn metrics(&mut self) -> String {
        let requests = self.last.elapsed().as_secs_f64() * 100.0;
        self.last = Instant::now();
        let mut text = String::new();
        for name in WORKLOADS {
            let fails = self.broken == Some(name) && self.moved.contains(name);
            let (good, failed) = self.counts.entry(name).or_default();
            *good += if fails { requests / 2.0 } else { requests };
            *failed += if fails { requests / 2.0 } else { 0.0 };
            let labels = format!(
                "reporter=\"destination\",destination_service_namespace=\"shop\",destination_service_name=\"{name}\",\
                 destination_workload_namespace=\"shop\",destination_workload=\"{name}\",response_flags=\"-\""
            );
            writeln!(text, "istio_requests_total{{{labels},response_code=\"200\"}} {good}").unwrap();
            writeln!(text, "istio_requests_total{{{labels},response_code=\"503\"}} {failed}").unwrap();
        }
        text
    }
}

struct Scene {
    mesh: MeshEnv,
    script: Arc<Mutex<Script>>,
    _prometheus: Prometheus,
    _folder: tempfile::TempDir,
    injector: JoinHandle<()>,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.injector.abort();
    }
}

/// Its label keeps the pods from the injector, whose webhook reaches no istiod: `inject` does its work.
fn workload(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {
                "labels": {"app": name, "sidecar.istio.io/inject": "false"},
                "annotations": {"istio.io/rev": "default"},
            },
            "spec": {"containers": [{"name": name, "image": "web:1"}, {"name": "istio-proxy", "image": "proxyv2:1.30.3"}]},
        }},
    })
}

/// Gives restarted pods the proxy for which they were restarted, as an injector does.
async fn inject(client: kube::Client, script: Arc<Mutex<Script>>) {
    use futures::TryStreamExt as _;
    use k8s_openapi::api::apps::v1::Deployment;
    use kube::runtime::WatchStreamExt as _;

    let api: kube::Api<Deployment> = kube::Api::namespaced(client, "shop");
    let changes = kube::runtime::watcher(api.clone(), kube::runtime::watcher::Config::default());
    let mut changes = std::pin::pin!(changes.default_backoff().applied_objects());
    while let Ok(Some(one)) = changes.try_next().await {
        let name = one.metadata.name.unwrap();
        let annotations = one.spec.unwrap().template.metadata.unwrap().annotations.unwrap();
        let wanted = annotations.get("sailhand.meshery.io/proxy");
        let has = annotations.get("istio.io/rev").unwrap();
        {
            let moved = &mut script.lock().unwrap().moved;
            if has == NEW {
                moved.insert(name.clone())
            } else {
                moved.remove(&name)
            };
        }
        if let Some(wanted) = wanted.filter(|wanted| *wanted != has) {
            let patch = json!({"spec": {"template": {"metadata": {"annotations": {"istio.io/rev": wanted}}}}});
            api.patch(&name, &kube::api::PatchParams::default(), &kube::api::Patch::Merge(patch)).await.unwrap();
        }
    }
}

/// A mesh of version 1.28.10 with three workloads, and a store that scrapes them.
async fn scene() -> Scene {
    let start = Script { last: Instant::now(), counts: BTreeMap::new(), moved: BTreeSet::new(), broken: None };
    let script = Arc::new(Mutex::new(start));
    let told = script.clone();
    let address = serve(move |request| request.starts_with("/metrics").then(|| (200, told.lock().unwrap().metrics())));
    let folder = tempfile::tempdir().unwrap();
    let prometheus = scraping(&address, folder.path());
    let mut connections = one("mesh", &prometheus.1);
    let mut other = connections["mesh"].clone();
    other.scope.insert("cluster".to_owned(), "other".to_owned());
    connections.insert("other".to_owned(), other);
    let mesh = MeshEnv::with_connections(connections).await;
    mesh.done("mesh.install", minimal("1.28.10")).await;
    let labels = json!({"istio-injection": "enabled"});
    let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": labels}});
    mesh.write("test", &space).await;
    for name in WORKLOADS {
        mesh.write("test", &workload(name)).await;
    }
    let injector = tokio::spawn(inject(mesh.cluster().await.client().await, script.clone()));
    eventually("each workload has a pod", WITHIN, async || {
        let pods = mesh.list("v1", "Pod").await;
        (pods.iter().filter(|pod| pod["metadata"]["namespace"] == "shop").count() == WORKLOADS.len()).then_some(())
    })
    .await;
    Scene { mesh, script, _prometheus: prometheus, _folder: folder, injector }
}

fn upgrade(connection: &str) -> Value {
    let gate = json!({"connection": connection, "window": "5s", "min_requests": 20, "patience": 3});
    json!({"version": "1.30.3", "strategy": "canary", "until": "verify", "batch": 1, "wait": "1m", "gate": gate})
}

impl Scene {
    async fn run(&self, cx: &TaskContext) -> Result<Value, Failure<Value>> {
        let done = self.mesh.registry.get("mesh.upgrade").unwrap().run(cx, upgrade("mesh")).await;
        let report = |failed: Failure<Box<sailhand::task::FailedReport>>| Failure {
            error: failed.error,
            report: failed.report.map(|outcome| outcome.map(|report| report.json)),
        };
        done.map(|outcome| outcome.into_parts().1).map_err(report)
    }

    /// Revision of the namespace, and of each workload's proxies.
    async fn revisions(&self) -> (String, Vec<String>) {
        let space = self.mesh.get("v1", "Namespace", None, "shop").await.unwrap();
        let labels = &space["metadata"]["labels"];
        let is_default = labels["istio-injection"] == "enabled";
        let space = if is_default { "default" } else { labels["istio.io/rev"].as_str().unwrap_or_default() };
        let mut each = Vec::new();
        for name in WORKLOADS {
            let live = self.mesh.get("apps/v1", "Deployment", Some("shop"), name).await.unwrap();
            let revision = &live["spec"]["template"]["metadata"]["annotations"]["istio.io/rev"];
            each.push(revision.as_str().unwrap_or_default().to_owned());
        }
        (space.to_owned(), each)
    }

    async fn everything_has(&self, revision: &str) {
        let expected = (revision.to_owned(), vec![revision.to_owned(); WORKLOADS.len()]);
        eventually(revision, WITHIN, async || (self.revisions().await == expected).then_some(())).await;
    }

    async fn restarted(&self, count: usize) {
        eventually("workloads are restarted", WITHIN, async || {
            (self.revisions().await.1.iter().filter(|one| *one == NEW).count() == count).then_some(())
        })
        .await;
    }

    async fn record(&self) -> Option<Value> {
        let mut maps = self.mesh.list("v1", "ConfigMap").await;
        maps.retain(|map| map["metadata"]["name"] == "istio-upgrade-gate");
        maps.pop()
    }
}

fn windows(report: &Value) -> Vec<(u64, String)> {
    let observations = report["gate"]["observations"].as_array().unwrap();
    let window = |one: &Value| (one["restarted"].as_u64().unwrap(), one["verdict"].as_str().unwrap().to_owned());
    observations.iter().map(window).collect()
}

#[tokio::test]
async fn unhealthy_revision_is_rolled_back_and_a_healthy_one_gets_all_workloads() {
    if support::charts::are_missing() {
        return;
    }
    let scene = scene().await;
    let failure = scene.mesh.run("mesh.upgrade", upgrade("other")).await.unwrap_err();
    assert_eq!((failure.error.code().to_string().as_str(), failure.error.class()), ("SH3518", Class::Terminal));
    let mut young = upgrade("mesh");
    young["gate"]["window"] = "30m".into();
    let failure = scene.mesh.run("mesh.upgrade", young).await.unwrap_err();
    let text = failure.error.to_string();
    assert!(text.contains("no request from before the 30m that precede the upgrade"), "{text}");
    assert_eq!(failure.error.code().to_string(), "SH3518");
    assert_eq!(scene.revisions().await.0, "default", "nothing is moved without numbers to judge by");

    scene.script.lock().unwrap().broken = Some("pay");
    let failure = scene.mesh.run("mesh.upgrade", upgrade("mesh")).await.unwrap_err();
    let text = failure.error.to_string();
    assert_eq!(
        (failure.error.code().to_string().as_str(), failure.error.class()),
        ("SH3517", Class::Terminal),
        "{text}"
    );
    assert!(text.contains("after 2 restarted workloads") && text.contains("shop/pay: "), "{text}");
    let report = failure.report.unwrap().into_parts().1;
    let good = |restarted| (restarted, "good".to_owned());
    let bad = |restarted| (restarted, "bad".to_owned());
    assert_eq!(windows(&report), [good(0), good(1), bad(2), bad(2)], "{report:#}");
    assert_eq!((&report["gate"]["went_back"], &report["gate"]["restarted"]), (&json!(true), &json!(2)), "{report:#}");
    scene.everything_has("default").await;
    assert!(scene.record().await.is_none());
    assert!(scene.mesh.get("apps/v1", "Deployment", Some("istio-system"), "istiod-1-30-3").await.is_some());

    scene.script.lock().unwrap().broken = None;
    let (changed, report) = scene.mesh.done("mesh.upgrade", upgrade("mesh")).await;
    assert_eq!((changed, windows(&report)), (true, vec![good(0), good(1), good(2), good(3)]), "{report:#}");
    scene.everything_has(NEW).await;
    assert!(scene.record().await.is_none());
    let (changed, report) = scene.mesh.done("mesh.upgrade", upgrade("mesh")).await;
    assert!(!changed && report["gate"] == Value::Null, "{report:#}");
}

#[tokio::test]
async fn next_attempt_continues_a_gate_and_a_cancelled_upgrade_is_rolled_back() {
    if support::charts::are_missing() {
        return;
    }
    let scene = scene().await;
    let (cx, _) = scene.mesh.context();
    tokio::select! {
        done = scene.run(&cx) => panic!("it was to die before: {:?}", done.is_ok()),
        () = scene.restarted(2) => {}
    }
    assert!(scene.record().await.is_some(), "another attempt finds the time of the beginning");
    scene.script.lock().unwrap().broken = Some("pay");
    let (next, _) = scene.mesh.context();
    let next = TaskContext { key: cx.key.clone(), attempt: 2, ..next };
    let failure = scene.run(&next).await.unwrap_err();
    assert_eq!(failure.error.code().to_string(), "SH3517", "{}", failure.error);
    let report = failure.report.unwrap().into_parts().1;
    assert_eq!((&report["gate"]["resumed"], &report["gate"]["went_back"]), (&json!(true), &json!(true)), "{report:#}");
    assert_eq!(windows(&report)[1].0, 2, "it judges the workloads of the dead worker first: {report:#}");
    scene.everything_has("default").await;

    scene.script.lock().unwrap().broken = None;
    let (cx, _) = scene.mesh.context();
    let cancel = async {
        scene.restarted(1).await;
        cx.guard.cancel();
        std::future::pending::<()>().await;
    };
    let failure = tokio::select! {
        done = scene.run(&cx) => done.unwrap_err(),
        () = cancel => unreachable!(),
    };
    assert_eq!(failure.error.code().to_string(), "SH1012");
    let report = failure.report.unwrap().into_parts().1;
    assert_eq!(report["gate"]["went_back"], true, "{report:#}");
    scene.everything_has("default").await;
    assert!(scene.record().await.is_none());
}
