//! Parameters and reports of the addon commands; part of the wire contract.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::analysis::mesh::ISTIO_NAMESPACE;
use crate::cluster::ObjectReport;
use crate::task::DURATION;
use crate::task::names::Namespace;

/// The addons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Name {
    /// Metrics of proxies and istiod.
    Prometheus,
    /// Dashboards on Prometheus.
    Grafana,
    /// The mesh as a picture. It only reads: it shows no proxy's state and validates nothing.
    Kiali,
    /// Traces; also takes what is sent to Zipkin.
    Jaeger,
    /// Traces. Not beside Jaeger, which has Services of the same names.
    Zipkin,
    /// Logs.
    Loki,
}

/// Who reaches an addon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Expose {
    /// Only who is in the cluster.
    #[default]
    ClusterIp,
    /// Clients that reach a node, at a port that the cluster allocates.
    NodePort,
    /// Clients that reach the cluster's load balancer. The addons have no authentication.
    LoadBalancer,
}

/// Parameters of `addon.apply`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyParams {
    /// Which addon.
    pub addon: Name,
    /// Its namespace, Istio's or another. The other addons are expected there too.
    #[serde(default = "mesh")]
    pub namespace: Namespace,
    /// Create the namespace if it does not exist.
    #[serde(default)]
    pub create_namespace: bool,
    /// Who reaches it.
    #[serde(default)]
    pub expose: Expose,
    /// The Prometheus that Grafana and Kiali ask, where it is not this worker's in `namespace`: any that their pods
    /// reach, inside the cluster or outside, such as `http://prometheus.monitoring:9090`. Without a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300), pattern(r"^https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?$"))]
    pub prometheus_url: Option<String>,
    /// A mirror such as `mirror.example:5000/hub`. It takes the place of the registry's host in the image; the path
    /// after the host does not change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200), pattern(r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9._-]+)*/?$"))]
    pub registry: Option<String>,
    /// How long to wait until it is ready and answers its own health call, such as `5m`; `0s` does not wait and does
    /// not ask.
    #[serde(with = "humantime_serde", default = "five_minutes")]
    #[schemars(with = "String", length(max = 32), regex(pattern = DURATION))]
    pub wait: Duration,
    /// Report what would change, write nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Take over objects that another tool owns.
    #[serde(default)]
    pub adopt: bool,
    /// Take fields over from other field managers.
    #[serde(default)]
    pub force: bool,
}

/// Parameters of `addon.remove`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveParams {
    /// Which addon.
    pub addon: Name,
    /// Where it is.
    #[serde(default = "mesh")]
    pub namespace: Namespace,
    /// How long to wait until all objects are deleted, such as `2m`; `0s` does not wait.
    #[serde(with = "humantime_serde", default = "two_minutes")]
    #[schemars(with = "String", length(max = 32), regex(pattern = DURATION))]
    pub wait: Duration,
    /// Report what would go, write nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// Report of `addon.apply` and `addon.remove`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddonReport {
    /// Which addon.
    pub addon: Name,
    /// Its version.
    pub version: String,
    /// Where it is, or was.
    pub namespace: Namespace,
    /// Where it is reached inside the cluster.
    pub url: String,
    /// The port at every node, when it is exposed so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_port: Option<u16>,
    /// The load balancer's address, when it is exposed so and there is one yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<String>,
    /// It answered its health call. False when it was not asked.
    pub healthy: bool,
    /// Missing parts without which it shows nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Nothing was written.
    #[serde(default)]
    pub dry_run: bool,
    /// Its objects.
    pub objects: Vec<ObjectReport>,
}

pub(super) fn mesh() -> Namespace {
    Namespace::known(ISTIO_NAMESPACE)
}

pub(super) const fn five_minutes() -> Duration {
    Duration::from_mins(5)
}

pub(super) const fn two_minutes() -> Duration {
    Duration::from_mins(2)
}
