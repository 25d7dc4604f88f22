//! The objects that discovery reads: which lists of a cluster, which of their fields, and how a watch updates them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::listing::{self, Unread};
use crate::cluster::Cluster;
use crate::cluster::following::{Followed, Seen, follow};
use crate::observe::discovery::Observed;
use crate::task::Error;

/// Lists that discovery reads. All but Services and pods are optional.
const SOURCES: [Followed; 14] = [
    source("v1", "Service", None),
    source("v1", "Pod", None),
    source("discovery.k8s.io/v1", "EndpointSlice", None),
    source("monitoring.coreos.com/v1", "Prometheus", None),
    source("v1", "ConfigMap", Some("app.kubernetes.io/name=kiali")),
    source("v1", "ConfigMap", Some("grafana_datasource")),
    source("kiali.io/v1alpha1", "Kiali", None),
    source("apps/v1", "Deployment", Some("app.kubernetes.io/name=flagger")),
    source("flagger.app/v1beta1", "MetricTemplate", None),
    source("argoproj.io/v1alpha1", "AnalysisTemplate", None),
    source("argoproj.io/v1alpha1", "ClusterAnalysisTemplate", None),
    source("keda.sh/v1alpha1", "ScaledObject", None),
    source("grafana.integreatly.org/v1beta1", "Grafana", None),
    source("grafana.integreatly.org/v1beta1", "GrafanaDatasource", None),
];

const fn source(api_version: &'static str, kind: &'static str, labels: Option<&'static str>) -> Followed {
    Followed { api_version, kind, labels, slim }
}

/// Objects of each source, sorted by namespace and name.
#[derive(Debug, Default)]
pub struct Objects {
    lists: [Vec<Value>; SOURCES.len()],
}

/// Changes of the lists, until this is dropped.
pub struct Changes {
    seen: mpsc::Receiver<(usize, Seen)>,
    _tasks: JoinSet<()>,
}

impl Changes {
    /// Follows all sources. Those that may be listed and not watched are listed each `interval`.
    pub fn of(cluster: &Arc<Cluster>, interval: Duration) -> Self {
        let (to, seen) = mpsc::channel(1024);
        let mut tasks = JoinSet::new();
        for (number, source) in SOURCES.into_iter().enumerate() {
            tasks.spawn(follow(Arc::clone(cluster), number, source, interval, to.clone()));
        }
        Self { seen, _tasks: tasks }
    }

    /// The next change; waits until there is one.
    pub async fn next(&mut self) -> (usize, Seen) {
        match self.seen.recv().await {
            Some(seen) => seen,
            // Tasks end with their receiver only.
            None => std::future::pending().await,
        }
    }
}

impl Objects {
    /// Lists everything once, and what could not be listed.
    ///
    /// # Errors
    /// When the API server cannot be reached at all.
    pub async fn read(cluster: &Cluster) -> Result<(Self, Vec<Unread>), Error> {
        let mut objects = Self::default();
        let mut unread = Vec::new();
        for (source, list) in SOURCES.iter().zip(&mut objects.lists) {
            let (api_version, kind, labels) = (source.api_version, source.kind, source.labels);
            listing::list(cluster, api_version, kind, labels, &mut unread, |object| list.push(slim(object))).await?;
        }
        Ok((objects, unread))
    }

    /// Reads everything from the first events of a watch, and what could not be listed.
    pub async fn first(changes: &mut Changes) -> (Self, Vec<Unread>) {
        let mut objects = Self::default();
        let mut unread = Vec::new();
        let mut open: Vec<usize> = (0..SOURCES.len()).collect();
        while !open.is_empty() {
            let (number, seen) = changes.next().await;
            if matches!(seen, Seen::All(_) | Seen::Unread(_)) {
                open.retain(|one| *one != number);
            }
            if let Err(error) = objects.take(number, seen) {
                let is_known = unread.iter().any(|one: &Unread| one.kind == error.kind);
                unread.extend((!is_known).then_some(error));
            }
        }
        (objects, unread)
    }

    /// Applies a change. Returns whether it may change the result of discovery.
    ///
    /// # Errors
    /// A list that could not be read. Its known objects remain.
    pub fn take(&mut self, number: usize, seen: Seen) -> Result<bool, Unread> {
        let list = &mut self.lists[number];
        Ok(match seen {
            Seen::All(mut all) => {
                all.sort_by(|a, b| place(a).cmp(&place(b)));
                let differs = *list != all;
                *list = all;
                differs
            }
            Seen::Put(object) => match list.binary_search_by(|one| place(one).cmp(&place(&object))) {
                Ok(at) if list[at] == object => false,
                Ok(at) => {
                    list[at] = object;
                    true
                }
                Err(at) => {
                    list.insert(at, object);
                    true
                }
            },
            Seen::Deleted(object) => match list.binary_search_by(|one| place(one).cmp(&place(&object))) {
                Ok(at) => {
                    list.remove(at);
                    true
                }
                Err(_) => false,
            },
            Seen::Unread(error) => return Err(Unread::new(SOURCES[number].kind, error)),
        })
    }

    /// Calls a function with the objects in the form that discovery reads.
    pub fn with<T>(&mut self, what: impl FnOnce(&Observed) -> T) -> T {
        let [services, pods, endpoint_slices, operator_prometheuses, witnesses @ ..] = &mut self.lists;
        let mut observed = Observed {
            services: std::mem::take(services),
            pods: std::mem::take(pods),
            endpoint_slices: std::mem::take(endpoint_slices),
            operator_prometheuses: std::mem::take(operator_prometheuses),
            witnesses: witnesses.iter().flatten().cloned().collect(),
        };
        let result = what(&observed);
        *services = std::mem::take(&mut observed.services);
        *pods = std::mem::take(&mut observed.pods);
        *endpoint_slices = std::mem::take(&mut observed.endpoint_slices);
        *operator_prometheuses = std::mem::take(&mut observed.operator_prometheuses);
        result
    }
}

fn place(object: &Value) -> (&str, &str) {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    (text("namespace"), text("name"))
}

/// Drops the large parts that discovery never reads, so that 5,000 Services and their pods stay small, and fields that
/// change all the time, so that a watch does not repeat discovery for them.
fn slim(mut object: Value) -> Value {
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|key, _| matches!(key.as_str(), "name" | "namespace" | "labels"));
    }
    if object["kind"] == "Pod"
        && let Some(spec) = object["spec"].as_object_mut()
    {
        spec.retain(|key, _| key == "containers");
        for container in spec["containers"].as_array_mut().into_iter().flatten() {
            if let Some(container) = container.as_object_mut() {
                container.retain(|key, _| matches!(key.as_str(), "name" | "image" | "command" | "args" | "ports"));
            }
        }
    }
    if object["kind"] == "EndpointSlice" {
        slim_endpoints(&mut object["endpoints"]);
    }
    object
}

/// Discovery reads only whether an endpoint is ready.
fn slim_endpoints(endpoints: &mut Value) {
    let serves = |endpoint: &Value| endpoint["conditions"]["ready"] != Value::Bool(false);
    let is_ready = endpoints.as_array().is_some_and(|all| all.iter().any(serves));
    let one = serde_json::json!([{"conditions": {"ready": true}}]);
    *endpoints = if is_ready { one } else { Value::Array(Vec::new()) };
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(name: &str, port: u16) -> Value {
        json!({"kind": "Service", "metadata": {"namespace": "m", "name": name}, "spec": {"ports": [{"port": port}]}})
    }

    #[test]
    fn only_changes_that_discovery_reads_count() {
        let mut objects = Objects::default();
        let mut take = |seen| objects.take(0, seen).unwrap();
        assert!(take(Seen::All(vec![service("b", 1), service("a", 1)])));
        assert!(!take(Seen::Put(service("a", 1))), "the same");
        assert!(take(Seen::Put(service("a", 2))) && take(Seen::Put(service("c", 1))));
        assert!(take(Seen::Deleted(service("b", 1))) && !take(Seen::Deleted(service("b", 1))));
        assert!(!take(Seen::All(vec![service("c", 1), service("a", 2)])), "in another order");
        let names =
            objects.with(|observed| observed.services.iter().map(|one| place(one).1.to_owned()).collect::<Vec<_>>());
        assert_eq!(names, ["a", "c"]);
        assert_eq!(objects.lists[0].len(), 2, "they stay");
    }

    #[test]
    fn status_and_addresses_of_endpoints_are_dropped() {
        let slice = |ip: &str, ready: bool| {
            slim(json!({"kind": "EndpointSlice", "metadata": {"name": "a", "resourceVersion": "7"},
                "endpoints": [{"addresses": [ip], "conditions": {"ready": ready}}]}))
        };
        assert_eq!(slice("10.0.0.1", true), slice("10.0.0.2", true));
        assert_ne!(slice("10.0.0.1", true), slice("10.0.0.1", false));
    }
}
