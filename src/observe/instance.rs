//! The report of discovery: one entry for each server.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Kind of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InstanceKind {
    /// Prometheus, or another server with its HTTP API.
    Prometheus,
    /// A Grafana.
    Grafana,
}

impl InstanceKind {
    /// Lowercase, as in events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::Grafana => "grafana",
        }
    }
}

impl fmt::Display for InstanceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Product behind Prometheus' HTTP API. Products differ in the endpoints they serve beside `query`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Flavor {
    /// Prometheus itself.
    Prometheus,
    /// Prometheus in agent mode, which answers no queries.
    PrometheusAgent,
    /// Thanos Query or Query Frontend.
    Thanos,
    /// `VictoriaMetrics`, single-node or vmselect.
    VictoriaMetrics,
    /// Grafana Mimir or Cortex.
    Mimir,
    /// Frontend of Google Managed Service for Prometheus.
    GoogleManaged,
    /// Grafana.
    Grafana,
}

/// A port of a Service in the target's cluster, and the path below which the API is served.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceAddress {
    /// Namespace of the Service.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: String,
    /// Name of the Service.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Number of the Service's port.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// Path prefix of the API, such as `/prometheus`; `/` when absent.
    #[serde(default = "root", skip_serializing_if = "is_root")]
    #[schemars(length(min = 1, max = 200), regex(pattern = "^/([A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*/?)?$"))]
    pub path: String,
    /// Whether the port speaks TLS.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tls: bool,
}

/// The path prefix of a server at the root of its address.
#[must_use]
pub fn root() -> String {
    "/".to_owned()
}

fn is_root(path: &String) -> bool {
    path == "/"
}

impl fmt::Display for ServiceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}.{}:{}", self.name, self.namespace, self.port)?;
        if self.path == "/" { Ok(()) } else { f.write_str(&self.path) }
    }
}

/// Joins a path prefix and an endpoint; never replaces the prefix.
#[must_use]
pub fn join(prefix: &str, endpoint: &str) -> String {
    format!("{}{endpoint}", prefix.trim_end_matches('/'))
}

/// What is known of a server after discovery and one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Recognized by its objects; not asked, or asked without a usable answer.
    Discovered,
    /// It answered as what it is.
    Connected,
    /// It requires a credential, or rejects the given one.
    Refused,
    /// Its Service exists and does not answer.
    Unreachable,
}

impl State {
    /// As tables for people show it: a server that answers needs no connection, so `connected` would mislead.
    #[must_use]
    pub const fn shown(self) -> &'static str {
        match self {
            Self::Discovered => "found",
            Self::Connected => "answers",
            Self::Refused => "refuses",
            Self::Unreachable => "unreachable",
        }
    }
}

/// One reason for a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// What was seen, such as `image prom/prometheus`.
    pub signal: String,
    /// The object it was seen on, such as `Service monitoring/prometheus`.
    pub object: String,
    /// Probability that the signal alone means such a server, 0 to 1.
    pub weight: f64,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// `<kind>/<namespace>/<service>:<port><path>`, or `<kind>/<url>` for one outside the cluster. Stable over restarts.
    pub fingerprint: String,
    /// Prometheus or Grafana.
    pub kind: InstanceKind,
    /// Product, as its objects or its answer show it.
    pub flavor: Flavor,
    /// Version as the server states it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The Service to use; none for a server outside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceAddress>,
    /// Address of a server outside the cluster, as another program is configured with it. sailhand never connects to it
    /// unless the worker's configuration has it as a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Other Services in front of the same pods, and addresses of Ingresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// `1 - Π(1 - weight)` over the evidence, 0 to 1. Below 0.5 nothing is reported.
    pub score: f64,
    /// Why it was recognized.
    pub evidence: Vec<Evidence>,
    /// Programs that are configured with it, such as `Kiali istio-system/kiali`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub used_by: Vec<String>,
    /// Its state.
    pub state: State,
    /// Why the state is not `connected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Instance {
    /// Fingerprint of a server behind a Service.
    #[must_use]
    pub fn fingerprint_of(kind: InstanceKind, service: &ServiceAddress) -> String {
        let path = service.path.trim_end_matches('/');
        format!("{kind}/{}/{}:{}{path}", service.namespace, service.name, service.port)
    }
}

/// Combined probability of independent signals.
#[must_use]
pub fn score(evidence: &[Evidence]) -> f64 {
    1.0 - evidence.iter().map(|one| 1.0 - one.weight).product::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joining_keeps_the_path_prefix() {
        assert_eq!(join("/", "/api/v1/query"), "/api/v1/query");
        assert_eq!(join("/prometheus", "/api/v1/query"), "/prometheus/api/v1/query");
        assert_eq!(join("/prometheus/", "/api/v1/query"), "/prometheus/api/v1/query");
    }

    #[test]
    fn evidence_adds_up_to_less_than_certainty() {
        let evidence = |weight| Evidence { signal: String::new(), object: String::new(), weight };
        assert!((score(&[evidence(0.5), evidence(0.5)]) - 0.75).abs() < 1e-9);
        assert!(score(&[]).abs() < 1e-9);
    }
}
