//! The environment of a run on a real cluster. Asks the guard before each write.

use async_trait::async_trait;
use futures::future;
use futures::stream::{self, BoxStream, StreamExt as _};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, DynamicResourceScope, PartialObjectMeta};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde_json::Value;

use super::Error;
use super::environment::{Environment, reference};
use super::simulated::workload;
use crate::analysis::istio::pod::has_ended;
use crate::cluster::{self, ApiError, Cluster, FIELD_MANAGER, Kind, ObjectRef};
use crate::guard::{Guard, Stop};

/// Environment of a run on a real cluster.
pub struct Kubernetes<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// Asked before each write.
    pub guard: &'a Guard,
}

impl Kubernetes<'_> {
    async fn kind(&self, object: &ObjectRef) -> Result<Option<Kind>, Error> {
        Ok(self.cluster.kind(&object.api_version, &object.kind).await?)
    }

    /// Pods of a namespace that can answer, now or later: neither terminating nor ended.
    pub(super) async fn pods(&self, namespace: &str) -> Result<Vec<Value>, Error> {
        let mut pods = self.list("v1", "Pod", Some(namespace), None).await?;
        pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null() && !has_ended(pod));
        Ok(pods)
    }

    /// Name of a pod of a Deployment; `operation` is for the error.
    pub(super) async fn pod_of(
        &self,
        namespace: &str,
        deployment: &str,
        operation: &'static str,
    ) -> Result<String, Error> {
        let pods = self.pods(namespace).await?;
        let mut names = pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str());
        let name = names.find(|name| workload(name) == deployment).map(str::to_owned);
        name.ok_or_else(|| Error::no_pod(operation, namespace, deployment))
    }
}

fn api<K>(client: kube::Client, kind: &Kind, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>,
{
    match namespace.filter(|_| kind.namespaced) {
        Some(namespace) => Api::namespaced_with(client, namespace, &kind.resource),
        None => Api::all_with(client, &kind.resource),
    }
}

fn json(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

#[async_trait]
impl Environment for Kubernetes<'_> {
    async fn apply(&self, object: &Value) -> Result<Value, Error> {
        let name = reference(object);
        let Some(kind) = self.kind(&name).await? else {
            let (api_version, kind) = (name.api_version.clone(), name.kind.clone());
            return Err(cluster::Error::UnknownKind { object: name.to_string(), api_version, kind, near: None }.into());
        };
        self.cluster.check_write(&name)?;
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let _writing = self.guard.writing().await?;
        let stored = self.cluster.call("apply", &name, |client| {
            let (api, params): (Api<DynamicObject>, _) =
                (api(client, &kind, name.namespace.as_deref()), params.clone());
            let name = &name.name;
            async move { api.patch(name, &params, &Patch::Apply(object)).await }
        });
        Ok(json(&stored.await?))
    }

    async fn delete(&self, object: &ObjectRef) -> Result<(), Error> {
        let Some(kind) = self.kind(object).await? else { return Ok(()) };
        self.cluster.check_write(object)?;
        let cleans_up = object.kind == "Namespace" && self.guard.check() != Err(Stop::LostLease);
        let _writing = if cleans_up { None } else { Some(self.guard.writing().await?) };
        let params = DeleteParams::background();
        let deleted = self.cluster.call("delete", object, |client| {
            let (api, params): (Api<DynamicObject>, _) =
                (api(client, &kind, object.namespace.as_deref()), params.clone());
            async move { api.delete(&object.name, &params).await }
        });
        match deleted.await {
            Ok(_) => Ok(()),
            Err(error) => match error.fault() {
                // A namespace that is being deleted already answers 409.
                Some(
                    ApiError::NotFound(_) | ApiError::NotServed | ApiError::Namespace { .. } | ApiError::Conflict(_),
                ) => Ok(()),
                _ => Err(error.into()),
            },
        }
    }

    async fn get(&self, object: &ObjectRef) -> Result<Option<Value>, Error> {
        Ok(self.cluster.get(object).await?)
    }

    async fn list(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        labels: Option<&str>,
    ) -> Result<Vec<Value>, Error> {
        let Some(kind) = self.cluster.kind(api_version, kind).await? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        self.cluster.list(&kind, namespace, labels, |object| found.push(object)).await?;
        // Items of a list have neither kind nor version.
        for object in &mut found {
            object["apiVersion"] = Value::String(kind.resource.api_version.clone());
            object["kind"] = Value::String(kind.resource.kind.clone());
        }
        Ok(found)
    }

    fn changes<'a>(
        &'a self,
        api_version: &'a str,
        kind: &'a str,
        namespace: Option<&'a str>,
        labels: Option<&'a str>,
    ) -> BoxStream<'a, ()> {
        let start = async move {
            // The runner does not depend on the watch: it also reads the objects every two seconds.
            let Ok(Some(kind)) = self.cluster.kind(api_version, kind).await else { return stream::pending().boxed() };
            let api: Api<PartialObjectMeta<DynamicObject>> = api(self.cluster.client().await, &kind, namespace);
            let config = watcher::Config { label_selector: labels.map(str::to_owned), ..watcher::Config::default() };
            let is_change = |event| matches!(event, Ok(Event::Apply(_) | Event::Delete(_) | Event::InitDone));
            let events = watcher(api, config).default_backoff();
            events.filter_map(move |event| future::ready(is_change(event).then_some(()))).boxed()
        };
        stream::once(start).flatten().boxed()
    }

    async fn version(&self) -> Result<String, Error> {
        Ok(self.cluster.version().await?)
    }
}
