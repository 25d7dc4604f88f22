//! The cluster as a run uses it: requests on JSON objects, and a watch. One implementation is a cluster, one is memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt as _};
use serde_json::{Value, json};

use super::Error;
use crate::clock::Clock;
use crate::cluster::ObjectRef;

/// Between two reads of objects that cannot be watched.
const POLL: Duration = Duration::from_millis(100);

/// Reads and writes objects. Writes ask the guard first.
#[async_trait]
pub trait Environment: Send + Sync {
    /// Server-side apply of one object; gives the object as it is stored.
    ///
    /// # Errors
    /// [`Error::Cluster`], [`Error::Stopped`].
    async fn apply(&self, object: &Value) -> Result<Value, Error>;

    /// Deletes an object; one that does not exist is a success. Namespaces are deleted in the background, with all that
    /// is in them, also when the guard says stop for another reason than a lost lease.
    ///
    /// # Errors
    /// [`Error::Cluster`], [`Error::Stopped`].
    async fn delete(&self, object: &ObjectRef) -> Result<(), Error>;

    /// One object, or `None` when it or its kind does not exist.
    ///
    /// # Errors
    /// [`Error::Cluster`].
    async fn get(&self, object: &ObjectRef) -> Result<Option<Value>, Error>;

    /// All objects of a kind in a namespace, or in all; none when the kind is not served. `labels` is a selector of the
    /// form `key=value` or `key`.
    ///
    /// # Errors
    /// [`Error::Cluster`].
    async fn list(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        labels: Option<&str>,
    ) -> Result<Vec<Value>, Error>;

    /// Yields an item when objects of a kind may have changed. An implementation without a watch yields one ten times a
    /// second.
    fn changes<'a>(
        &'a self,
        _api_version: &'a str,
        _kind: &'a str,
        _namespace: Option<&'a str>,
        _labels: Option<&'a str>,
    ) -> BoxStream<'a, ()> {
        stream::unfold((), async |()| {
            Clock::system().sleep(POLL).await;
            Some(((), ()))
        })
        .boxed()
    }

    /// Version of the API server, such as `v1.34.4`.
    ///
    /// # Errors
    /// [`Error::Cluster`].
    async fn version(&self) -> Result<String, Error>;
}

/// Which object a JSON object is.
#[must_use]
pub fn reference(object: &Value) -> ObjectRef {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    ObjectRef {
        api_version: text(&object["apiVersion"]),
        kind: text(&object["kind"]),
        namespace: object["metadata"]["namespace"].as_str().map(str::to_owned),
        name: text(&object["metadata"]["name"]),
    }
}

/// A cluster in memory: it stores what is applied, and a Deployment has its ready pod at once. For the simulated driver
/// and tests.
#[derive(Debug, Default)]
pub struct Memory {
    objects: Mutex<BTreeMap<ObjectRef, Value>>,
    created: AtomicU64,
}

impl Memory {
    /// With a control plane of Istio and these CRDs, each as (name, served version).
    #[must_use]
    pub fn with_crds(crds: &[(&str, &str)]) -> Self {
        let memory = Self::default();
        memory.put(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "istiod", "namespace": "istio-system", "labels": {"app": "istiod"}},
            "spec": {"template": {"spec": {"containers": [{"name": "discovery", "image": "simulated/pilot:simulated"}]}}},
        }));
        for (name, version) in crds {
            memory.put(json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
                "spec": {"versions": [{"name": version, "served": true}]},
                "status": {"conditions": [{"type": "Established", "status": "True"}]},
            }));
        }
        memory
    }

    /// Stores an object as it is.
    pub fn put(&self, object: Value) {
        self.lock().insert(reference(&object), object);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ObjectRef, Value>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Environment for Memory {
    async fn apply(&self, object: &Value) -> Result<Value, Error> {
        if object["kind"] == "Deployment" {
            self.put(pod(object));
        }
        let mut stored = object.clone();
        let known = self.lock().get(&reference(object)).map(|old| old["metadata"]["uid"].clone());
        let uid = known.unwrap_or_else(|| json!(format!("{:08}", self.created.fetch_add(1, Ordering::Relaxed))));
        stored["metadata"]["uid"] = uid;
        if object["kind"] == "Gateway" {
            stored["status"] = json!({"conditions": [{"type": "Programmed", "status": "True"}]});
        }
        self.put(stored.clone());
        Ok(stored)
    }

    async fn delete(&self, object: &ObjectRef) -> Result<(), Error> {
        let mut objects = self.lock();
        objects.remove(object);
        if object.kind == "Namespace" {
            objects.retain(|one, _| one.namespace.as_deref() != Some(&object.name));
        }
        Ok(())
    }

    async fn get(&self, object: &ObjectRef) -> Result<Option<Value>, Error> {
        Ok(self.lock().get(object).cloned())
    }

    async fn list(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        labels: Option<&str>,
    ) -> Result<Vec<Value>, Error> {
        let fits = |object: &&Value| {
            let own = &object["metadata"]["labels"];
            labels.is_none_or(|labels| match labels.split_once('=') {
                Some((key, value)) => own[key] == value,
                None => !own[labels].is_null(),
            })
        };
        let objects = self.lock();
        let of_kind = objects.iter().filter(|(one, _)| {
            one.api_version == api_version
                && one.kind == kind
                && (namespace.is_none() || one.namespace.as_deref() == namespace)
        });
        Ok(of_kind.map(|(_, object)| object).filter(fits).cloned().collect())
    }

    async fn version(&self) -> Result<String, Error> {
        Ok("v0.0.0-simulated".to_owned())
    }
}

/// The one pod of a Deployment, ready, with a sidecar and redirected to ztunnel.
fn pod(deployment: &Value) -> Value {
    let template = &deployment["spec"]["template"];
    let mut spec = template["spec"].clone();
    if let Some(containers) = spec["containers"].as_array_mut() {
        containers.push(json!({"name": "istio-proxy", "image": "simulated/proxyv2:simulated"}));
    }
    let name = deployment["metadata"]["name"].as_str().unwrap_or_default();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("{name}-0a1b2c3d4e-00000"),
            "namespace": deployment["metadata"]["namespace"],
            "labels": template["metadata"]["labels"],
            "annotations": {"ambient.istio.io/redirection": "enabled"},
        },
        "spec": spec,
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    })
}
