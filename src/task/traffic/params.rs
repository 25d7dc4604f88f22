//! Parameters and reports of the traffic commands; part of the wire contract.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::gate::{Gate, GateReport};
use super::scenario::Scenario;
use crate::cluster::ObjectReport;
use crate::task::DURATION;
use crate::task::names::Namespace;

/// Name of a Service, and of a subset.
pub(super) const LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// Key of a Kubernetes label, with or without a prefix.
const LABEL_KEY: &str = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";
/// Value of a Kubernetes label.
const LABEL_VALUE: &str = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";

/// Parameters of `traffic.apply`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyParams {
    /// Namespace of the service and of the objects that are written.
    pub namespace: Namespace,
    /// One of Bookinfo's traffic scenarios. Set either this or `service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<Scenario>,
    /// The Service. Its rules and subsets of an earlier command are replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub service: Option<String>,
    /// Subsets of the service's pods, by labels in addition to the service's selector. A subset that a rule names and
    /// that is not listed here selects the pods whose label `version` is its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "propertyNames" = {"pattern": LABEL, "maxLength": 63}))]
    pub subsets: BTreeMap<String, Labels>,
    /// Routing rules; the first one that matches a request applies. Requests that match no rule are routed to all pods
    /// of the service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub rules: Vec<Rule>,
    /// Connection pool limits and outlier detection (`DestinationRule` `connectionPool` and `outlierDetection`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<CircuitBreaker>,
    /// Load balancing algorithm (`DestinationRule` `loadBalancer`); Istio's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancer>,
    /// Set `ISTIO_MUTUAL` explicitly, for meshes with automatic mTLS disabled.
    #[serde(default)]
    pub mutual_tls: bool,
    /// Moves the weights in steps while metrics of a canary are healthy; otherwise they go back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
    /// Report what would change, write nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Write even if a subset has no ready pods, if another object routes the same host, or if another field manager
    /// owns a field.
    #[serde(default)]
    pub force: bool,
}

/// Labels of pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Labels(
    #[schemars(extend(
        "minProperties" = 1,
        "maxProperties" = 16,
        "propertyNames" = {"pattern": LABEL_KEY, "maxLength": 317},
        "additionalProperties" = {"type": "string", "pattern": LABEL_VALUE, "maxLength": 63},
    ))]
    pub BTreeMap<String, String>,
);

/// A routing rule.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Conditions: a request matches if it meets one of them; all requests match when absent.
    #[serde(default, rename = "match", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub matches: Vec<Match>,
    /// Fault injection: delay, abort, or both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// Destinations of matching requests; all pods of the service when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub destinations: Vec<Destination>,
    /// Destination of a copy of the requests. Its responses are discarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
    /// Timeout of a request, including retries, such as `3s`.
    #[serde(default, with = "humantime_serde::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 32), regex(pattern = DURATION))]
    pub timeout: Option<Duration>,
    /// Retries of failed requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
}

/// A condition for requests. All fields that are set must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Headers, by lower-case name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16, "propertyNames" = {"pattern": "^[a-z0-9][-a-z0-9_]*$", "maxLength": 128}))]
    pub headers: BTreeMap<String, Text>,
    /// The path, without the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Text>,
    /// The HTTP method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Text>,
    /// Query parameters, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16, "propertyNames" = {"minLength": 1, "maxLength": 128}))]
    pub query: BTreeMap<String, Text>,
    /// Labels of the client's pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_labels: Option<Labels>,
    /// Namespace of the client's pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_namespace: Option<Namespace>,
}

/// A string match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Text {
    /// Exact match.
    Exact(#[schemars(length(min = 1, max = 1024))] String),
    /// Prefix match.
    Prefix(#[schemars(length(min = 1, max = 1024))] String),
    /// RE2 regular expression; the whole text must match.
    Regex(#[schemars(length(min = 1, max = 1024))] String),
}

/// A fault that clients' proxies inject.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Delays requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Delay>,
    /// Aborts requests with an HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort: Option<Abort>,
}

/// A delay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Delay {
    /// The delay, such as `7s`.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String", length(max = 32), regex(pattern = DURATION))]
    pub fixed: Duration,
    /// Share of the requests, in percent.
    #[serde(default = "all")]
    #[schemars(range(min = 0.0001, max = 100.0))]
    pub percent: f64,
}

/// An HTTP status instead of the service's response.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Abort {
    /// The HTTP status.
    #[schemars(range(min = 200, max = 599))]
    pub status: u16,
    /// Share of the requests, in percent.
    #[serde(default = "all")]
    #[schemars(range(min = 0.0001, max = 100.0))]
    pub percent: f64,
}

/// A destination of requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// A subset of the service; all of its pods when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub subset: Option<String>,
    /// Another Service of the namespace; it cannot be combined with `subset`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub service: Option<String>,
    /// Port of the Service; the port of the request when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// Share of the requests in percent. The weights of a rule must add up to 100. Optional for a single destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub weight: Option<u8>,
}

/// Destination of mirrored requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// A subset of the service; all of its pods when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub subset: Option<String>,
    /// Another Service of the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub service: Option<String>,
    /// Share of the requests that is mirrored, in percent.
    #[serde(default = "all")]
    #[schemars(range(min = 0.0001, max = 100.0))]
    pub percent: f64,
}

/// Retries of failed requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retries {
    /// Maximum number of retries after the first attempt; 0 disables Istio's default retries.
    #[schemars(range(max = 100))]
    pub attempts: u8,
    /// Timeout of each attempt; the rule's `timeout` when absent.
    #[serde(default, with = "humantime_serde::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 32), regex(pattern = DURATION))]
    pub per_try_timeout: Option<Duration>,
    /// Conditions for a retry: Envoy's `retryOn` values such as `5xx` and `connect-failure`, or HTTP statuses; Istio's
    /// default when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 32), pattern("^[a-z0-9][-a-z0-9]*$")))]
    pub on: Vec<String>,
}

/// Connection pool limits and outlier detection of the clients' proxies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CircuitBreaker {
    /// Maximum number of TCP connections to the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub max_connections: Option<u32>,
    /// Maximum number of HTTP/1.1 requests that wait for a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub max_pending_requests: Option<u32>,
    /// Maximum number of concurrent requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub max_requests: Option<u32>,
    /// Maximum number of requests per connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub max_requests_per_connection: Option<u32>,
    /// Number of consecutive 5xx errors after which a pod is ejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub consecutive_errors: Option<u32>,
    /// Interval of outlier detection, such as `10s`.
    #[serde(default, with = "humantime_serde::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 32), regex(pattern = DURATION))]
    pub interval: Option<Duration>,
    /// Duration of the first ejection of a pod, such as `30s`.
    #[serde(default, with = "humantime_serde::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 32), regex(pattern = DURATION))]
    pub base_ejection_time: Option<Duration>,
    /// Maximum share of ejected pods, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub max_ejection_percent: Option<u8>,
}

/// Load balancing algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LoadBalancer {
    /// Each pod in turn (`ROUND_ROBIN`).
    RoundRobin,
    /// A random pod (`RANDOM`).
    Random,
    /// The less loaded of two random pods (`LEAST_REQUEST`).
    LeastRequest,
}

/// Parameters of `traffic.clear`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClearParams {
    /// Namespace of the services.
    pub namespace: Namespace,
    /// The Service. Without this and `scenario`, all services of the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub service: Option<String>,
    /// The services of one of Bookinfo's scenarios, regardless of their current scenario.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<Scenario>,
    /// Report what would be deleted, write nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// Report of `traffic.apply` and `traffic.clear`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrafficReport {
    /// API group and version of the objects; absent when the cluster serves none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Rules and subsets of each service; empty after `traffic.clear`.
    pub services: Vec<ServiceReport>,
    /// Reasons why the rules may have no effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Nothing was written.
    #[serde(default)]
    pub dry_run: bool,
    /// How a gated change went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateReport>,
    /// The objects.
    pub objects: Vec<ObjectReport>,
}

/// Rules and subsets of one service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceReport {
    /// The Service.
    pub service: String,
    /// Its subsets, with the ready pods that each had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subsets: Vec<SubsetReport>,
    /// The rules in order, each in a sentence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
}

/// One subset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubsetReport {
    /// Its name.
    pub name: String,
    /// The labels of its pods.
    pub labels: Labels,
    /// How many ready pods it has; absent when the Service chooses its pods not by labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_pods: Option<u32>,
}

const fn all() -> f64 {
    100.0
}
