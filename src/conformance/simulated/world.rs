//! The objects that decide the outcome of a request.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::Error;
use super::super::environment::{Environment, reference};
use super::super::traffic::{Protocol, Request};
use crate::cluster::ObjectRef;

/// Objects by reference.
pub(super) type Objects = BTreeMap<ObjectRef, Value>;

/// The objects that decide the outcome of one request.
pub(super) struct World {
    /// Service account of the sender.
    pub account: String,
    /// Namespace of the sender.
    pub from: String,
    /// Namespace of the Service.
    pub namespace: String,
    /// Whether that namespace denies by default.
    pub default_deny: bool,
    /// The Service of the request's host.
    pub service: Option<Value>,
    pub services: Vec<Value>,
    pub pods: Vec<Value>,
    pub targets: Objects,
    pub groups: Objects,
    pub tcp_routes: Objects,
    pub splits: Objects,
    /// `HTTPRoute`s or `GRPCRoute`s of the Service's namespace, by the request's protocol.
    pub routes: Vec<Value>,
}

impl World {
    pub(super) async fn read(environment: &dyn Environment, request: &Request) -> Result<Self, Error> {
        let host = request.host.trim_end_matches(".svc.cluster.local");
        let (name, namespace) = host.split_once('.').unwrap_or((host, &request.namespace));
        let labels = format!("app={}", request.from);
        let all =
            async |api_version: &str, kind: &str| environment.list(api_version, kind, Some(namespace), None).await;
        let senders = environment.list("v1", "Pod", Some(&request.namespace), Some(&labels)).await?;
        let deployed = senders.first().cloned();
        let sender = match deployed {
            Some(sender) => sender,
            None => environment
                .list("v1", "Pod", Some(&request.namespace), None)
                .await?
                .into_iter()
                .find(|pod| workload(pod["metadata"]["name"].as_str().unwrap_or_default()) == request.from)
                .unwrap_or_default(),
        };
        let services = all("v1", "Service").await?;
        let deny = environment.get(&ObjectRef::new("v1", "Namespace", None, namespace)).await?.unwrap_or_default();
        let route = match request.protocol {
            Protocol::Http => "HTTPRoute",
            Protocol::Grpc => "GRPCRoute",
        };
        Ok(Self {
            account: sender["spec"]["serviceAccountName"].as_str().unwrap_or("default").to_owned(),
            from: request.namespace.clone(),
            namespace: namespace.to_owned(),
            default_deny: deny["metadata"]["labels"]["smi.sailhand.dev/default-deny"] == "true",
            service: services.iter().find(|service| service["metadata"]["name"] == name).cloned(),
            services,
            pods: all("v1", "Pod").await?,
            targets: by_reference(all("access.smi-spec.io/v1alpha3", "TrafficTarget").await?),
            groups: by_reference(all("specs.smi-spec.io/v1alpha4", "HTTPRouteGroup").await?),
            tcp_routes: by_reference(all("specs.smi-spec.io/v1alpha4", "TCPRoute").await?),
            splits: by_reference(all("split.smi-spec.io/v1alpha4", "TrafficSplit").await?),
            routes: all("gateway.networking.k8s.io/v1", route).await?,
        })
    }

    /// The Service of a name in the world's namespace.
    pub(super) fn named(&self, name: &str) -> Option<&Value> {
        self.services.iter().find(|service| service["metadata"]["name"] == name)
    }

    /// Pods that a Service selects.
    pub(super) fn endpoints<'a>(&'a self, service: &'a Value) -> impl Iterator<Item = &'a Value> {
        let selector = service["spec"]["selector"].as_object();
        self.pods.iter().filter(move |pod| {
            let labels = &pod["metadata"]["labels"];
            selector.is_some_and(|selector| selector.iter().all(|(key, value)| labels[key] == *value))
        })
    }

    /// The object of a kind and name in the world's namespace.
    pub(super) fn object<'a>(&self, objects: &'a Objects, name: &Value) -> Option<&'a Value> {
        objects
            .iter()
            .find(|(one, _)| *name == *one.name && one.namespace.as_ref() == Some(&self.namespace))
            .map(|(_, it)| it)
    }
}

fn by_reference(objects: Vec<Value>) -> Objects {
    objects.into_iter().map(|object| (reference(&object), object)).collect()
}

/// A workload's name: that of its pod without the last two parts.
pub(in crate::conformance) fn workload(pod: &str) -> &str {
    let mut parts = pod.rsplitn(3, '-');
    parts.nth(2).unwrap_or(pod)
}

/// Whether a Service has the port.
pub(super) fn has_port(service: &Value, port: u16) -> bool {
    each(&service["spec"]["ports"]).any(|one| one["port"] == port)
}

/// Items of a list; none when it is absent.
pub(super) fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}
