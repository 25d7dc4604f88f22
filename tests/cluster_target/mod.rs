//! The test cluster as a task meets it: a target of the configuration, a context with a guard, and a record of the
//! steps told. Shared by the tests of what works on a cluster.
#![allow(dead_code, reason = "each integration test is a crate of its own and uses only some of this")]
#![allow(clippy::unwrap_used, reason = "a test that cannot get its real parts has to fail")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sailhand::clock::Clock;
use sailhand::cluster::{Clusters, ObjectRef};
use sailhand::config::Target;
use sailhand::guard::Guard;
use sailhand::progress::{Progress, Step};
use sailhand::task::TaskContext;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::support::control_plane;
use crate::support::eventually::eventually;

/// Longest time until the API server serves the kind of a CRD.
const SERVED_WITHIN: Duration = Duration::from_secs(30);

/// Keeps the steps told.
#[derive(Default)]
pub struct Steps(Mutex<Vec<Step>>);

impl Steps {
    /// The steps told so far.
    pub fn reported(&self) -> Vec<Step> {
        self.0.lock().unwrap().clone()
    }

    /// Whether a step of the phase says this.
    pub fn contain(&self, phase: &str, text: &str) -> bool {
        self.reported().iter().any(|step| step.phase == phase && step.message.contains(text))
    }
}

impl Progress for Steps {
    fn report(&self, step: Step) {
        self.0.lock().unwrap().push(step);
    }
}

/// A guard that stops nothing for two minutes.
pub fn guard(fence: u64) -> Guard {
    Guard::new(Instant::now() + Duration::from_mins(2), fence, CancellationToken::new())
}

/// A name that nobody else has, so that tests run side by side and on a used cluster.
pub fn unique(tag: &str) -> String {
    let unique = uuid::Uuid::new_v4().simple().to_string();
    format!("{tag}-{}", &unique[..8])
}

/// A task's context on the test cluster; each test has a namespace of inventories of its own.
pub fn context(test: &str, fence: u64) -> (TaskContext, Arc<Steps>) {
    let target = Target {
        kubeconfig: Some(control_plane::kubeconfig().to_owned()),
        inventory_namespace: format!("{test}-inventory"),
        ..Target::default()
    };
    let steps = Arc::new(Steps::default());
    let context = TaskContext {
        key: sailhand::event::CommandKey::new("/tests", &uuid::Uuid::new_v4().to_string()),
        target: "test".to_owned(),
        clusters: Arc::new(Clusters::new(BTreeMap::from([("test".to_owned(), target)]))),
        commands: Arc::new(()),
        attachments: Arc::new(()),
        guard: guard(fence),
        progress: steps.clone(),
        events: Arc::new(()),
        clock: Clock::system(),
        attempt: 1,
        generation: None,
    };
    (context, steps)
}

/// A reference to an object.
pub fn object(api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> ObjectRef {
    ObjectRef {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
    }
}

/// One object as it is in the cluster.
pub async fn read(cx: &TaskContext, object: &ObjectRef) -> Option<Value> {
    cx.cluster().await.unwrap().get(object).await.unwrap()
}

/// Writes an object past everything that is tested here, as another person would.
pub async fn write(cx: &TaskContext, object: Value) -> Value {
    let reference = self::object(
        object["apiVersion"].as_str().unwrap(),
        object["kind"].as_str().unwrap(),
        object["metadata"]["namespace"].as_str(),
        object["metadata"]["name"].as_str().unwrap(),
    );
    let cluster = cx.cluster().await.unwrap();
    let kind = cluster.kind(&reference.api_version, &reference.kind).await.unwrap().unwrap();
    let api: kube::Api<kube::core::DynamicObject> = match &reference.namespace {
        Some(namespace) => kube::Api::namespaced_with(cluster.client().await, namespace, &kind.resource),
        None => kube::Api::all_with(cluster.client().await, &kind.resource),
    };
    let params = kube::api::PatchParams::apply("somebody").force();
    let written = api.patch(&reference.name, &params, &kube::api::Patch::Apply(&object)).await.unwrap();
    serde_json::to_value(written).unwrap()
}

/// Writes a CRD with one version and waits until the API server serves its kind.
pub async fn write_served(cx: &TaskContext, definition: Value) {
    let (spec, name) = (&definition["spec"], definition["metadata"]["name"].as_str().unwrap());
    let crd = object("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, name);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let api_version = format!("{}/{}", text(&spec["group"]), text(&spec["versions"][0]["name"]));
    let kind = text(&spec["names"]["kind"]);
    write(cx, definition).await;
    let cluster = cx.cluster().await.unwrap();
    sailhand::cluster::wait::until_ready(&cluster, &[crd], SERVED_WITHIN, &cx.guard, &()).await.unwrap();
    eventually("the kind is served", SERVED_WITHIN, async || cluster.kind(&api_version, &kind).await.unwrap()).await;
}
