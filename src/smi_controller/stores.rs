//! Everything that the controller watches.

use std::sync::Arc;

use kube::Client;
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Options;
use super::follow::{Store, Watch};
use super::report::{Condition, condition_of};
use super::request::{of_istio, of_smi, resource};
use crate::smi::{
    Existing, HttpRouteGroupSpec, Identity, IstioKind, Kind, Namespace, Object, Service, Snapshot, TcpRouteSpec,
    TrafficSplitSpec, TrafficTargetSpec, UdpRouteSpec, Workload,
};

/// Largest `spec` of an SMI object, in bytes of JSON.
const MAX_SPEC: usize = 256 * 1024;

/// An SMI object with the condition that it has in the cluster.
pub struct Watched<S> {
    pub object: Arc<Object<S>>,
    pub condition: Option<Condition>,
}

/// A change of the condition alone does not require another translation.
impl<S: PartialEq> PartialEq for Watched<S> {
    fn eq(&self, other: &Self) -> bool {
        self.object == other.object
    }
}

/// Objects of a kind that has no condition of ours.
type Plain<S> = Store<Watched<S>>;

/// One store for each kind.
#[derive(Default)]
pub struct Stores {
    /// Notified when a store has other objects than before.
    pub changed: Arc<Notify>,
    traffic_targets: Arc<Plain<TrafficTargetSpec>>,
    http_route_groups: Arc<Plain<HttpRouteGroupSpec>>,
    tcp_routes: Arc<Plain<TcpRouteSpec>>,
    udp_routes: Arc<Plain<UdpRouteSpec>>,
    traffic_splits: Arc<Plain<TrafficSplitSpec>>,
    namespaces: Arc<Store<Namespace>>,
    pods: Arc<Store<Workload>>,
    deployments: Arc<Store<Workload>>,
    stateful_sets: Arc<Store<Workload>>,
    daemon_sets: Arc<Store<Workload>>,
    services: Arc<Store<Service>>,
    authorization_policies: Arc<Store<Existing>>,
    virtual_services: Arc<Store<Existing>>,
    http_routes: Arc<Store<Existing>>,
    /// `data.mesh` of the mesh's `ConfigMap`.
    mesh_configs: Arc<Store<String>>,
}

impl Stores {
    /// Starts all watches; they end with `stop`.
    pub fn follow(&self, client: &Client, options: &Options, stop: &CancellationToken) {
        let start = Start { client, changed: &self.changed, stop };
        start.smi(Kind::TrafficTarget, &self.traffic_targets);
        start.smi(Kind::HttpRouteGroup, &self.http_route_groups);
        start.smi(Kind::TcpRoute, &self.tcp_routes);
        start.smi(Kind::UdpRoute, &self.udp_routes);
        start.smi(Kind::TrafficSplit, &self.traffic_splits);
        start.kind(("", "Namespace", "namespaces"), None, Namespace::read, &self.namespaces);
        let running = "status.phase!=Succeeded,status.phase!=Failed";
        start.kind(("", "Pod", "pods"), Some(running), Workload::of_pod, &self.pods);
        let of = |object: &Value| Workload::of_template("Deployment", object);
        start.kind(("apps", "Deployment", "deployments"), None, of, &self.deployments);
        let of = |object: &Value| Workload::of_template("StatefulSet", object);
        start.kind(("apps", "StatefulSet", "statefulsets"), None, of, &self.stateful_sets);
        let of = |object: &Value| Workload::of_template("DaemonSet", object);
        start.kind(("apps", "DaemonSet", "daemonsets"), None, of, &self.daemon_sets);
        start.kind(("", "Service", "services"), None, Service::read, &self.services);
        let read: [fn(&Value) -> Option<Existing>; 3] = [
            |object| Existing::read(IstioKind::AuthorizationPolicy, object),
            |object| Existing::read(IstioKind::VirtualService, object),
            |object| Existing::read(IstioKind::HttpRoute, object),
        ];
        for (kind, read) in IstioKind::ALL.into_iter().zip(read) {
            let watch = Watch { resource: of_istio(kind), namespace: String::new(), fields: None, read };
            start.watch(watch, self.existing(kind));
        }
        if options.trust_domain.is_some() {
            return;
        }
        let watch = Watch {
            resource: resource("", "v1", "ConfigMap", "configmaps"),
            namespace: options.root_namespace.clone(),
            fields: Some(format!("metadata.name={}", options.mesh_config)),
            read: |object| Some(object["data"]["mesh"].as_str().unwrap_or_default().to_owned()),
        };
        start.watch(watch, &self.mesh_configs);
    }

    /// Objects of a kind that the controller writes.
    pub fn existing(&self, kind: IstioKind) -> &Arc<Store<Existing>> {
        match kind {
            IstioKind::AuthorizationPolicy => &self.authorization_policies,
            IstioKind::VirtualService => &self.virtual_services,
            IstioKind::HttpRoute => &self.http_routes,
        }
    }

    /// Why there is no complete snapshot yet, one line for each kind. Nothing may be written before there is one: a
    /// missing list would look like deleted objects.
    pub fn waiting(&self, options: &Options) -> Vec<String> {
        let mesh_config = options.trust_domain.is_none().then(|| self.mesh_configs.waiting()).flatten();
        let all = [
            ("traffictargets", self.traffic_targets.waiting()),
            ("httproutegroups", self.http_route_groups.waiting()),
            ("tcproutes", self.tcp_routes.waiting()),
            ("udproutes", self.udp_routes.waiting()),
            ("trafficsplits", self.traffic_splits.waiting()),
            ("namespaces", self.namespaces.waiting()),
            ("pods", self.pods.waiting()),
            ("deployments", self.deployments.waiting()),
            ("statefulsets", self.stateful_sets.waiting()),
            ("daemonsets", self.daemon_sets.waiting()),
            ("services", self.services.waiting()),
            ("authorizationpolicies", self.authorization_policies.waiting()),
            ("virtualservices", self.virtual_services.waiting()),
            ("httproutes", self.http_routes.waiting()),
            ("configmaps", mesh_config),
        ];
        all.into_iter().filter_map(|(kind, waiting)| Some(format!("{kind}: {}", waiting?))).collect()
    }

    pub fn snapshot(&self) -> Snapshot {
        let existing = IstioKind::ALL.into_iter().flat_map(|kind| self.existing(kind).all());
        let workloads = [&self.pods, &self.deployments, &self.stateful_sets, &self.daemon_sets];
        Snapshot {
            traffic_targets: objects(&self.traffic_targets),
            http_route_groups: objects(&self.http_route_groups),
            tcp_routes: objects(&self.tcp_routes),
            udp_routes: objects(&self.udp_routes),
            traffic_splits: objects(&self.traffic_splits),
            namespaces: self.namespaces.all(),
            workloads: workloads.into_iter().flat_map(|store| store.all()).collect(),
            services: self.services.all(),
            existing: existing.collect(),
        }
    }

    /// The text of the mesh's configuration; `None` when its `ConfigMap` does not exist.
    pub fn mesh_config(&self) -> Option<Arc<String>> {
        self.mesh_configs.all().pop()
    }

    /// The condition of an object, for the kinds that have one.
    pub fn condition(&self, of: &Identity) -> Option<Condition> {
        match of.kind {
            Kind::TrafficTarget => self.traffic_targets.get(&of.namespace, &of.name)?.condition.clone(),
            Kind::TrafficSplit => self.traffic_splits.get(&of.namespace, &of.name)?.condition.clone(),
            _ => None,
        }
    }
}

fn objects<S>(store: &Plain<S>) -> Vec<Arc<Object<S>>> {
    store.all().iter().map(|watched| Arc::clone(&watched.object)).collect()
}

struct Start<'a> {
    client: &'a Client,
    changed: &'a Arc<Notify>,
    stop: &'a CancellationToken,
}

impl Start<'_> {
    fn watch<T: PartialEq + Send + Sync + 'static>(&self, watch: Watch<T>, store: &Arc<Store<T>>) {
        let (client, store) = (self.client.clone(), Arc::clone(store));
        tokio::spawn(watch.follow(client, store, Arc::clone(self.changed), self.stop.clone()));
    }

    fn kind<T: PartialEq + Send + Sync + 'static>(
        &self,
        (group, kind, plural): (&str, &str, &str),
        fields: Option<&str>,
        read: fn(&Value) -> Option<T>,
        store: &Arc<Store<T>>,
    ) {
        let resource = resource(group, "v1", kind, plural);
        self.watch(Watch { resource, namespace: String::new(), fields: fields.map(str::to_owned), read }, store);
    }

    fn smi<S>(&self, kind: Kind, store: &Arc<Plain<S>>)
    where
        S: serde::de::DeserializeOwned + PartialEq + Send + Sync + 'static,
    {
        let watch = Watch { resource: of_smi(kind), namespace: String::new(), fields: None, read: read_smi::<S> };
        self.watch(watch, store);
    }
}

#[allow(clippy::unnecessary_wraps, reason = "the signature of all watches")]
fn read_smi<S: serde::de::DeserializeOwned>(value: &Value) -> Option<Watched<S>> {
    let mut object = Object::read(value);
    let length = value["spec"].to_string().len();
    if length > MAX_SPEC {
        object.spec = Err(format!("spec has {length} bytes of JSON, more than {MAX_SPEC}"));
    }
    Some(Watched { object: Arc::new(object), condition: condition_of(value) })
}
