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
    /// Where the service is, and where the objects go.
    pub namespace: Namespace,
    /// One of Bookinfo's own scenarios. Either this or `service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<Scenario>,
    /// The Service whose traffic is shaped. What an earlier command did to it is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub service: Option<String>,
    /// Subsets of the service's pods, by the labels that they have beside the service's own. A subset that a rule
    /// names and that is not here has the pods whose label `version` is its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "propertyNames" = {"pattern": LABEL, "maxLength": 63}))]
    pub subsets: BTreeMap<String, Labels>,
    /// What happens to requests, by the first rule that matches. Requests that no rule matches go to all pods of the
    /// service, as before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub rules: Vec<Rule>,
    /// When clients stop asking pods that fail or are too busy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<CircuitBreaker>,
    /// How clients choose among pods; Istio's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancer>,
    /// Clients use Istio's mutual TLS, said outright: for meshes whose automatic mTLS is off.
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

/// What happens to some requests.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which requests: those that fit one of these; all when absent.
    #[serde(default, rename = "match", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub matches: Vec<Match>,
    /// Makes them late, or fails them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// Where they go; all pods of the service when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub destinations: Vec<Destination>,
    /// Destination of a copy of the requests. Its responses are discarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
    /// How long a client waits for the whole answer, such as `3s`.
    #[serde(default, with = "humantime_serde::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 32), regex(pattern = DURATION))]
    pub timeout: Option<Duration>,
    /// How failed requests are repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
}

/// A condition for requests. All fields that are set have to match.
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

/// How a text has to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Text {
    /// Just so.
    Exact(#[schemars(length(min = 1, max = 1024))] String),
    /// It begins so.
    Prefix(#[schemars(length(min = 1, max = 1024))] String),
    /// It fits this RE2 expression as a whole.
    Regex(#[schemars(length(min = 1, max = 1024))] String),
}

/// A fault that clients' proxies inject.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Makes requests late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Delay>,
    /// Answers them with an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort: Option<Abort>,
}

/// A delay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Delay {
    /// How long, such as `7s`.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String", length(max = 32), regex(pattern = DURATION))]
    pub fixed: Duration,
    /// How many of the requests, in percent.
    #[serde(default = "all")]
    #[schemars(range(min = 0.0001, max = 100.0))]
    pub percent: f64,
}

/// An error as the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Abort {
    /// The HTTP status.
    #[schemars(range(min = 200, max = 599))]
    pub status: u16,
    /// How many of the requests, in percent.
    #[serde(default = "all")]
    #[schemars(range(min = 0.0001, max = 100.0))]
    pub percent: f64,
}

/// Where requests go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// A subset of the service; all its pods when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub subset: Option<String>,
    /// Another Service of the namespace, which has no subsets here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub service: Option<String>,
    /// The Service's port; that which the client asked for when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// Its share in percent; the weights of a rule add up to 100. May be absent when it is the only destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub weight: Option<u8>,
}

/// Who gets copies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// A subset of the service; all its pods when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub subset: Option<String>,
    /// Another Service of the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub service: Option<String>,
    /// How many of the requests are copied, in percent.
    #[serde(default = "all")]
    #[schemars(range(min = 0.0001, max = 100.0))]
    pub percent: f64,
}

/// How failed requests are repeated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retries {
    /// How often at most, beside the first time; 0 switches Istio's own retries off.
    #[schemars(range(max = 100))]
    pub attempts: u8,
    /// How long each may take; the rule's `timeout` when absent.
    #[serde(default, with = "humantime_serde::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 32), regex(pattern = DURATION))]
    pub per_try_timeout: Option<Duration>,
    /// What counts as failed: Envoy's words such as `5xx` and `connect-failure`, or HTTP statuses; Istio's default
    /// when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 32), pattern("^[a-z0-9][-a-z0-9]*$")))]
    pub on: Vec<String>,
}

/// Limits at which clients' proxies refuse by themselves, and pods that they leave out for a while.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CircuitBreaker {
    /// TCP connections to the service at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub max_connections: Option<u32>,
    /// HTTP/1.1 requests that may wait for a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub max_pending_requests: Option<u32>,
    /// Requests under way at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub max_requests: Option<u32>,
    /// Requests for each connection before another is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub max_requests_per_connection: Option<u32>,
    /// Errors 5xx in a row, after which a pod is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub consecutive_errors: Option<u32>,
    /// How often pods are judged, such as `10s`.
    #[serde(default, with = "humantime_serde::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 32), regex(pattern = DURATION))]
    pub interval: Option<Duration>,
    /// How long a pod is left out the first time, such as `30s`.
    #[serde(default, with = "humantime_serde::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 32), regex(pattern = DURATION))]
    pub base_ejection_time: Option<Duration>,
    /// How many of the pods may be left out, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub max_ejection_percent: Option<u8>,
}

/// How clients choose among pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LoadBalancer {
    /// One after the other.
    RoundRobin,
    /// By chance.
    Random,
    /// That of two by chance which has less to do.
    LeastRequest,
}

/// Parameters of `traffic.clear`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClearParams {
    /// Where the services are.
    pub namespace: Namespace,
    /// The Service; everything that `traffic.apply` wrote in the namespace when neither this nor `scenario` is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub service: Option<String>,
    /// The services of one of Bookinfo's scenarios, whatever scenario they have now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<Scenario>,
    /// Report what would go, write nothing.
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
    /// What now applies to each service; after `traffic.clear` each with nothing.
    pub services: Vec<ServiceReport>,
    /// What may keep it from working as meant.
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

/// What applies to one service.
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
