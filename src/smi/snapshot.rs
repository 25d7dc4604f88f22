//! Input of the translation: SMI objects, and the objects of the cluster that it depends on.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::http_route_group::HttpRouteGroupSpec;
use super::istio::Existing;
use super::object::Object;
use super::tcp_route::TcpRouteSpec;
use super::traffic_split::TrafficSplitSpec;
use super::traffic_target::TrafficTargetSpec;
use super::udp_route::UdpRouteSpec;
use crate::analysis::istio::membership::NamespaceMode;

/// Labels that differ between the pods of one workload, so that a selector must not contain them.
const VOLATILE: &[&str] = &[
    "pod-template-hash",
    "rollouts-pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "controller-uid",
    "job-name",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
    "batch.kubernetes.io/job-completion-index",
    // Istio's injection adds these to pods and not to their templates.
    "security.istio.io/tlsMode",
    "service.istio.io/canonical-name",
    "service.istio.io/canonical-revision",
];

/// All that the translation reads. The order of the lists does not matter.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "each field is the list of one kind")]
pub struct Snapshot {
    pub traffic_targets: Vec<Arc<Object<TrafficTargetSpec>>>,
    pub http_route_groups: Vec<Arc<Object<HttpRouteGroupSpec>>>,
    pub tcp_routes: Vec<Arc<Object<TcpRouteSpec>>>,
    pub udp_routes: Vec<Arc<Object<UdpRouteSpec>>>,
    pub traffic_splits: Vec<Arc<Object<TrafficSplitSpec>>>,
    pub namespaces: Vec<Arc<Namespace>>,
    pub workloads: Vec<Arc<Workload>>,
    pub services: Vec<Arc<Service>>,
    pub existing: Vec<Arc<Existing>>,
}

/// A namespace that is not being deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespace {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
}

impl Namespace {
    /// Reads a `v1` Namespace; `None` when it is being deleted.
    #[must_use]
    pub fn read(object: &Value) -> Option<Self> {
        let metadata = &object["metadata"];
        if !metadata["deletionTimestamp"].is_null() {
            return None;
        }
        Some(Self { name: metadata["name"].as_str()?.to_owned(), labels: texts(&metadata["labels"]) })
    }

    /// Whether its pods are in Istio's ambient mode.
    pub(super) fn is_ambient(&self) -> bool {
        NamespaceMode::by(|key| self.labels.get(key).map(String::as_str)).is_ambient()
    }
}

/// Pods with equal labels and the same identity: a pod, or the pod template of a Deployment, StatefulSet or `DaemonSet`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// The namespace.
    pub namespace: String,
    /// Such as `Deployment reviews-v1`, for messages.
    pub name: String,
    /// The `ServiceAccount` that the pods run under.
    pub service_account: String,
    /// Labels of the pods without those that differ from pod to pod.
    pub labels: BTreeMap<String, String>,
}

impl Workload {
    /// Reads a Pod.
    #[must_use]
    pub fn of_pod(pod: &Value) -> Option<Self> {
        Self::of(&pod["metadata"], format!("Pod {}", pod["metadata"]["name"].as_str()?), pod)
    }

    /// Reads an object with a pod template at `spec.template`.
    #[must_use]
    pub fn of_template(kind: &str, object: &Value) -> Option<Self> {
        let name = object["metadata"]["name"].as_str()?;
        Self::of(&object["metadata"], format!("{kind} {name}"), &object["spec"]["template"])
    }

    fn of(metadata: &Value, name: String, pod: &Value) -> Option<Self> {
        let mut labels = texts(&pod["metadata"]["labels"]);
        labels.retain(|key, _| !VOLATILE.contains(&key.as_str()));
        let service_account = pod["spec"]["serviceAccountName"].as_str().filter(|name| !name.is_empty());
        Some(Self {
            namespace: metadata["namespace"].as_str()?.to_owned(),
            name,
            service_account: service_account.unwrap_or("default").to_owned(),
            labels,
        })
    }
}

/// A Service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Service {
    /// The namespace.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `spec.selector`; empty for a Service without one.
    pub selector: BTreeMap<String, String>,
    /// `spec.ports`.
    pub ports: Vec<Port>,
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// `port`.
    pub number: u16,
    /// Port of the pods; `None` when `targetPort` is a name.
    pub target: Option<u16>,
    /// The application protocol.
    pub protocol: Protocol,
}

/// The application protocol of a port, as Istio selects it.
///
/// Source: istio.io, "Protocol Selection".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1, HTTP/2 or gRPC in plain text.
    Http,
    /// TLS that the proxy does not terminate.
    Tls,
    /// Other TCP.
    Tcp,
    /// Not declared: Istio detects HTTP by the first bytes, and treats the rest as TCP.
    Auto,
    /// UDP or SCTP, which Istio does not proxy.
    NotProxied,
}

impl Service {
    /// Reads a `v1` Service.
    #[must_use]
    pub fn read(object: &Value) -> Option<Self> {
        let metadata = &object["metadata"];
        let ports = object["spec"]["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
        Some(Self {
            namespace: metadata["namespace"].as_str()?.to_owned(),
            name: metadata["name"].as_str()?.to_owned(),
            labels: texts(&metadata["labels"]),
            selector: texts(&object["spec"]["selector"]),
            ports: ports.iter().filter_map(Port::read).collect(),
        })
    }
}

impl Port {
    fn read(port: &Value) -> Option<Self> {
        let number = port_number(&port["port"])?;
        let target = match &port["targetPort"] {
            Value::Null => Some(number),
            Value::String(_) => None,
            target => port_number(target),
        };
        let protocol = match port["protocol"].as_str() {
            None | Some("TCP") => Protocol::of(port["appProtocol"].as_str(), port["name"].as_str().unwrap_or_default()),
            Some(_) => Protocol::NotProxied,
        };
        Some(Self { number, target, protocol })
    }
}

impl Protocol {
    /// By `appProtocol`, else by the prefix of the port's name (`<protocol>[-<suffix>]`).
    fn of(app_protocol: Option<&str>, name: &str) -> Self {
        let protocol = app_protocol.unwrap_or_else(|| name.split_once('-').map_or(name, |(protocol, _)| protocol));
        match protocol.to_ascii_lowercase().as_str() {
            "http" | "http2" | "grpc" | "grpc-web" | "kubernetes.io/h2c" | "kubernetes.io/ws" => Self::Http,
            "https" | "tls" | "kubernetes.io/wss" => Self::Tls,
            "tcp" | "mongo" | "mysql" | "redis" => Self::Tcp,
            _ => Self::Auto,
        }
    }
}

/// A valid port number.
fn port_number(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0)
}

/// A map of strings, such as labels; other values are left out.
pub(super) fn texts(value: &Value) -> BTreeMap<String, String> {
    let entries = value.as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sidecar_injection_overrides_ambient_mode() {
        let is_ambient = |labels: Value| {
            Namespace::read(&json!({"metadata": {"name": "shop", "labels": labels}})).unwrap().is_ambient()
        };
        assert!(is_ambient(json!({"istio.io/dataplane-mode": "ambient"})));
        assert!(!is_ambient(json!({"istio.io/dataplane-mode": "ambient", "istio-injection": "enabled"})));
    }
}
