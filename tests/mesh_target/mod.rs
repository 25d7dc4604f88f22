//! A mesh's cluster as the mesh verbs meet it, with a stand-in for istiod.
#![allow(dead_code, reason = "each integration test is a crate of its own and uses only some of this")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot get its real parts has to fail")]
#![allow(clippy::disallowed_methods, reason = "other processes have their own time")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kube::api::Api;
use kube::core::DynamicObject;
use sailhand::clock::Clock;
use sailhand::cluster::{Cluster, Clusters};
use sailhand::config::{Charts, Connection, Target};
use sailhand::guard::Guard;
use sailhand::task::{Failure, Outcome, Registry, TaskContext};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster_target::Steps;
use crate::mesh_settings::settings;
use crate::support::{charts, eventually::eventually, istiod, own_control_plane::ControlPlane};

/// A cluster, the verbs, and istiod's stand-in.
pub struct MeshEnv {
    pub plane: ControlPlane,
    pub registry: Registry,
    clusters: Arc<Clusters>,
    /// Whose rights the verbs have.
    worker: Arc<Clusters>,
    fence: AtomicU64,
    standin: Option<JoinHandle<()>>,
}

impl MeshEnv {
    /// With charts from the tests' folder.
    pub async fn start() -> Self {
        Self::with(Charts { source: charts::folder().to_string_lossy().into_owned(), ..settings() }).await
    }

    /// With charts from there.
    pub async fn with(charts: Charts) -> Self {
        Self::configured(charts, BTreeMap::new()).await
    }

    /// With these servers in the worker's configuration.
    pub async fn with_connections(connections: BTreeMap<String, Connection>) -> Self {
        let charts = Charts { source: charts::folder().to_string_lossy().into_owned(), ..settings() };
        Self::configured(charts, connections).await
    }

    async fn configured(charts: Charts, connections: BTreeMap<String, Connection>) -> Self {
        let plane = ControlPlane::start().await;
        let target = Target { kubeconfig: Some(plane.kubeconfig()), connections, ..Target::default() };
        let clusters = Arc::new(Clusters::new(BTreeMap::from([("test".to_owned(), target)])));
        let registry = Registry::configured(&charts);
        let worker = Arc::clone(&clusters);
        let mut mesh = Self { plane, registry, clusters, worker, fence: AtomicU64::new(1), standin: None };
        mesh.standin = Some(tokio::spawn(istiod::stand_in(mesh.cluster().await.client().await)));
        mesh
    }

    pub async fn cluster(&self) -> Arc<Cluster> {
        self.clusters.get("test").await.unwrap()
    }

    /// From now on the verbs have no other rights than those of this kubeconfig.
    pub fn work_as(&mut self, kubeconfig: &Path) {
        let target = Target { kubeconfig: Some(kubeconfig.to_owned()), ..Target::default() };
        self.worker = Arc::new(Clusters::new(BTreeMap::from([("test".to_owned(), target)])));
    }

    /// Nobody plays istiod any more.
    pub fn without_istiod(&mut self) {
        if let Some(standin) = self.standin.take() {
            standin.abort();
        }
    }

    /// A context as the engine makes one: each has a higher fence than the one before.
    pub fn context(&self) -> (TaskContext, Arc<Steps>) {
        let steps = Arc::new(Steps::default());
        let fence = self.fence.fetch_add(1, Ordering::Relaxed);
        let deadline = Instant::now() + Duration::from_mins(5);
        let context = TaskContext {
            key: sailhand::event::CommandKey::new("/tests", &uuid::Uuid::new_v4().to_string()),
            target: "test".to_owned(),
            clusters: Arc::clone(&self.worker),
            commands: Arc::new(()),
            attachments: Arc::new(()),
            guard: Guard::new(deadline, fence, CancellationToken::new()),
            progress: steps.clone(),
            events: Arc::new(()),
            clock: Clock::system(),
            attempt: 1,
            generation: None,
        };
        (context, steps)
    }

    /// Runs a verb to its end.
    pub async fn run(&self, verb: &str, params: Value) -> Result<Outcome<Value>, Failure<Value>> {
        let (cx, _) = self.context();
        let done = self.registry.get(verb).unwrap().run(&cx, params).await;
        done.map_err(|Failure { error, report }| Failure {
            error,
            report: report.map(|outcome| outcome.map(|report| report.json)),
        })
    }

    /// Runs a verb that has to succeed: whether it changed anything, and its report.
    pub async fn done(&self, verb: &str, params: Value) -> (bool, Value) {
        match self.run(verb, params).await {
            Ok(outcome) => outcome.into_parts(),
            Err(failure) => panic!("{verb}: {}\n{:#?}", failure.error, failure.report),
        }
    }

    /// One object as it is.
    pub async fn get(&self, api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> Option<Value> {
        let object = crate::cluster_target::object(api_version, kind, namespace, name);
        self.cluster().await.get(&object).await.unwrap()
    }

    /// All objects of a kind.
    pub async fn list(&self, api_version: &str, kind: &str) -> Vec<Value> {
        let cluster = self.cluster().await;
        let mut found = Vec::new();
        if let Some(kind) = cluster.kind(api_version, kind).await.unwrap() {
            cluster.list(&kind, None, None, |one| found.push(one)).await.unwrap();
        }
        found
    }

    /// Kind, name and resource version of everything that Istio's charts have kinds for.
    pub async fn versions(&self) -> Vec<String> {
        self.webhooks_are_complete().await;
        let mut versions = Vec::new();
        for (api_version, kind) in KINDS {
            for one in self.list(api_version, kind).await {
                let text = |key: &str| one["metadata"][key].as_str().unwrap_or_default().to_owned();
                let leased = kind == "ConfigMap" && text("namespace") == "kube-system";
                // The controller manager makes them while a new control plane starts.
                let own = text("name") == "kube-root-ca.crt"
                    || (kind == "ServiceAccount" && (text("name") == "default" || text("namespace") == "kube-system"));
                if !leased && !own {
                    versions.push(format!("{kind} {}/{} {}", text("namespace"), text("name"), text("resourceVersion")));
                }
            }
        }
        versions
    }

    /// Waits until the stand-in for istiod has written to each webhook configuration.
    async fn webhooks_are_complete(&self) {
        if self.standin.is_none() {
            return;
        }
        let has = |hooks: &Value, what: fn(&Value) -> bool| hooks.as_array().is_none_or(|hooks| hooks.iter().all(what));
        eventually("the webhooks have certificates", Duration::from_secs(20), async || {
            let (version, mutating, validating) =
                ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration");
            let certified = |one: &Value| has(&one["webhooks"], |hook| hook["clientConfig"]["caBundle"].is_string());
            let strict = |one: &Value| has(&one["webhooks"], |hook| hook["failurePolicy"] != "Ignore");
            let complete = self.list(version, mutating).await.iter().all(certified)
                && self.list(version, validating).await.iter().all(strict);
            complete.then_some(())
        })
        .await;
    }

    /// Writes an object past everything that is tested here.
    pub async fn write(&self, manager: &str, object: &Value) {
        let cluster = self.cluster().await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let kind = cluster.kind(&text(&object["apiVersion"]), &text(&object["kind"])).await.unwrap().unwrap();
        let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(cluster.client().await, namespace, &kind.resource),
            None => Api::all_with(cluster.client().await, &kind.resource),
        };
        let params = kube::api::PatchParams::apply(manager).force();
        api.patch(&text(&object["metadata"]["name"]), &params, &kube::api::Patch::Apply(object)).await.unwrap();
    }
}

impl Drop for MeshEnv {
    fn drop(&mut self) {
        self.without_istiod();
    }
}

/// Kinds that Istio's charts have, and inventories.
const KINDS: [(&str, &str); 14] = [
    ("v1", "Namespace"),
    ("v1", "ConfigMap"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "DaemonSet"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("policy/v1", "PodDisruptionBudget"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io/v1", "Role"),
];

/// The parts of a report, each with whether it changed anything.
pub fn parts(report: &Value) -> Vec<String> {
    let parts = report["parts"].as_array().unwrap();
    parts.iter().map(|part| part["installation"].as_str().unwrap().to_owned()).collect()
}

/// Lines of a report that are not `unchanged`.
pub fn changes(report: &Value) -> Vec<String> {
    let parts = report["parts"].as_array().unwrap();
    let objects = parts.iter().flat_map(|part| part["objects"].as_array().unwrap());
    let changed = objects.filter(|line| line["action"] != "unchanged");
    changed.map(|line| format!("{} {} {}", line["action"], line["object"]["kind"], line["object"]["name"])).collect()
}

/// A mesh without gateways, which need a real injector.
pub fn minimal(version: &str) -> Value {
    json!({"version": version, "profile": "minimal", "wait": "2m"})
}
