//! Checks how useful a Prometheus is for Istio, step by step, each with its evidence. A store that answers need not have
//! Istio's metrics. The report names the last step that the store passes and why it does not pass the next one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod coverage;
mod headline;
mod monitors;
mod mutual_tls;
mod network_policy;
mod numbers;
mod relabeling;
mod targets;

pub use headline::headline;

use super::envelope::{QueryAnswer, Unusable};
use super::scrape::port_of;
use crate::analysis::istio::port::PROXY_METRICS;
use crate::prose::plural;

/// Steps of the check, in their order. A store that passes one passes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// No HTTP answer came.
    Unreachable,
    /// An HTTP answer came.
    Reachable,
    /// The request is authorized.
    Authorized,
    /// The response is from the HTTP API of Prometheus.
    Prometheus,
    /// Samples are recent.
    Fresh,
    /// Metrics of istiod and of proxies are there.
    ScrapesIstio,
    /// Every proxy that should be scraped is.
    Complete,
    /// Nothing falsifies the numbers.
    Correct,
}

/// Why a store does not pass a step, or what falsifies numbers. The words are part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// No answer within the time limit, connection refused, name not found.
    NoAnswer,
    /// 401, 403 or a login page.
    CredentialRefused,
    /// Another program answers.
    NotPrometheus,
    /// Prometheus in agent mode.
    AgentMode,
    /// The newest sample is old.
    Stale,
    /// Nothing scrapes the mesh.
    NothingScrapesIstio,
    /// The control plane is scraped, proxies are not.
    ProxiesNotScraped,
    /// Proxies are scraped and no request was ever counted.
    NoTraffic,
    /// A `PodMonitor` or `ServiceMonitor` for Istio exists and the Prometheus object does not select it.
    MonitorNotSelected,
    /// Pods with a proxy in namespaces that no selected `PodMonitor` or `ServiceMonitor` covers.
    NamespaceNotCovered,
    /// Pods with a proxy that no scrape target covers.
    TargetsMissing,
    /// Targets that fail.
    TargetsDown,
    /// `prometheus.io/port` of an injected pod is not the proxy's.
    WrongAnnotation,
    /// Metrics merging is off, and pods are selected by annotation.
    MergingOff,
    /// Ambient workloads without a waypoint: TCP metrics only.
    AmbientWithoutWaypoint,
    /// One pod is scraped by more than one job.
    ScrapedTwice,
    /// Metrics of several clusters are in one store and the connection has no scope.
    SeveralClusters,
    /// A Telemetry object disables metrics or removes labels.
    TelemetryRemovesMetrics,
    /// `_bucket` series are dropped: latency quantiles are not possible.
    BucketsDropped,
    /// The store answered in part.
    PartialAnswer,
    /// The store's service account may not list the pods of a namespace.
    PodsForbidden,
    /// A `NetworkPolicy` keeps the store from a target.
    NetworkPolicy,
    /// The store scrapes a port of an application for which STRICT mTLS applies.
    StrictMtls,
    /// The store's own pod has a sidecar that intercepts its requests to targets.
    StoreIntercepted,
    /// The store does not discover the ports of native sidecars, which are init containers.
    NativeSidecarsNotSeen,
    /// Proxies send the same sample twice in one scrape.
    DuplicateSamples,
    /// A target exceeds a limit of its scrape job, so all of its samples are dropped.
    LimitExceeded,
    /// Metrics merging cannot read the application's metrics.
    ApplicationMetricsFail,
    /// The window of rates contains fewer than four scrapes.
    WindowTooShort,
    /// The store has samples of Istio for a part of the window only, so rates are too low.
    WindowNotFull,
    /// Another store of the cluster scrapes Istio.
    OtherStore,
    /// Several replicas write the same series to the store.
    SeveralReplicas,
    /// A relabeling rule of the store drops Istio's series or labels, or replaces the labels of pods.
    RelabelingDrops,
}

/// Severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The connection does not serve its purpose.
    Error,
    /// Some numbers are missing or wrong.
    Warning,
    /// Worth knowing.
    Info,
}

/// One result of the check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Diagnosis {
    /// The cause.
    pub cause: Cause,
    /// How serious it is.
    pub severity: Severity,
    /// What is wrong, with objects and numbers.
    pub message: String,
    /// What was seen: answers of the store and objects of the cluster.
    pub evidence: Vec<String>,
    /// What to change.
    pub remedy: String,
}

/// What is known of the cluster for the upper rungs.
#[derive(Debug, Default)]
pub struct Mesh {
    /// Pods with a proxy or of the mesh itself, as `namespace/name`, that a store should scrape.
    pub expected: Vec<String>,
    /// Injected pods whose `prometheus.io/port` is not 15020, as `namespace/name`.
    pub wrong_annotation: Vec<String>,
    /// Injected pods without `prometheus.io` annotations, as `namespace/name`.
    pub without_annotation: Vec<String>,
    /// Ambient namespaces without a waypoint.
    pub ambient_without_waypoint: Vec<String>,
    /// `PodMonitor` and `ServiceMonitor` objects.
    pub monitors: Vec<Value>,
    /// Prometheus objects of the Operator.
    pub operator_prometheuses: Vec<Value>,
    /// Namespaces, for their labels.
    pub namespaces: Vec<Value>,
    /// Telemetry objects.
    pub telemetries: Vec<Value>,
    /// The pods of `expected`: metadata, and names and ports of their containers.
    pub pods: Vec<Value>,
    /// Pods behind the store's Service; empty for a store by URL.
    pub store_pods: Vec<Value>,
    /// `NetworkPolicy` objects.
    pub network_policies: Vec<Value>,
    /// `PeerAuthentication` objects.
    pub peer_authentications: Vec<Value>,
    /// Namespaces of istiod's pods: `PeerAuthentication` without a selector there applies to the whole mesh.
    pub root_namespaces: Vec<String>,
    /// Namespaces in which the store's service account may not list pods.
    pub forbidden_namespaces: Vec<String>,
    /// Other stores of the cluster that have Istio's metrics, as connections name them.
    pub other_stores: Vec<String>,
}

/// Answers of the store. `None` is a query that was not asked, because a lower one failed.
#[derive(Debug, Default)]
pub struct Answers {
    /// `max(timestamp(up))`.
    pub newest: Option<QueryAnswer>,
    /// `time()`.
    pub now: Option<f64>,
    /// `count by (component, tag, cluster) (istio_build)`.
    pub builds: Option<QueryAnswer>,
    /// `count by (reporter) (istio_requests_total)`.
    pub requests: Option<QueryAnswer>,
    /// `count by (reporter) (istio_tcp_sent_bytes_total)`.
    pub tcp: Option<QueryAnswer>,
    /// `count by (reporter) (istio_request_duration_milliseconds_bucket)`.
    pub buckets: Option<QueryAnswer>,
    /// Number of jobs that scrape each pod of the proxies, only pods with more than one.
    pub twice: Option<QueryAnswer>,
    /// `data.activeTargets` of `/api/v1/targets?state=active`; none where the store has no such endpoint.
    pub targets: Option<Vec<Value>>,
    /// Pods with Istio series, as `namespace/name`; used where there are no targets.
    pub pods_seen: Vec<String>,
    /// Whether the connection has scope labels.
    pub scoped: bool,
    /// Rejected duplicate samples of the last ten minutes; only of a store that scrapes itself.
    pub duplicates: Option<QueryAnswer>,
    /// Pods whose application's metrics could not be merged in the last ten minutes.
    pub merge_failures: Option<QueryAnswer>,
    /// `count by (prometheus_replica) (up)`.
    pub replicas: Option<QueryAnswer>,
    /// The store's configuration; asked where series are missing.
    pub configuration: Option<Value>,
    /// Whether the store is a `VictoriaMetrics`.
    pub victoria_metrics: bool,
    /// Series of `istio_build` at the start of the window.
    pub window_start: Option<QueryAnswer>,
    /// Window that rates are taken over, seconds; 0 when it is not judged.
    pub window_s: u64,
}

/// Samples older than this are stale, seconds: three scrapes at the usual largest interval.
const STALE_S: f64 = 180.0;
/// Names listed in one message.
const NAMES: usize = 5;

/// The finding for a store that does not answer queries, with the rung it reached.
#[must_use]
pub fn unusable(trouble: &Unusable) -> (Rung, Diagnosis) {
    let (rung, cause, remedy) = match trouble {
        Unusable::Refused { .. } => (
            Rung::Reachable,
            Cause::CredentialRefused,
            "Configure a credential for this connection in the worker's configuration, or grant the one it has the right to query.",
        ),
        Unusable::NotReady { .. } => (
            Rung::Reachable,
            Cause::NoAnswer,
            "Wait until the server is ready: a Prometheus answers so while it reads its write-ahead log. If it lasts, read the log of the server or of the proxy before it.",
        ),
        Unusable::Agent => (
            Rung::Prometheus,
            Cause::AgentMode,
            "Connect the store that this agent writes to (its remoteWrite) instead.",
        ),
        Unusable::Query { .. } => {
            (Rung::Prometheus, Cause::NotPrometheus, "Check the server's log: it refuses the simplest query.")
        }
        Unusable::Foreign { .. } | Unusable::TooLarge => (
            Rung::Authorized,
            Cause::NotPrometheus,
            "Check Service, port and path prefix: another program answers there.",
        ),
    };
    let diagnosis = Diagnosis {
        cause,
        severity: Severity::Error,
        message: trouble.to_string(),
        evidence: vec!["query vector(1)".to_owned()],
        remedy: remedy.to_owned(),
    };
    (rung, diagnosis)
}

/// The finding for a store that gives no HTTP answer.
#[must_use]
pub fn no_answer(reason: &str) -> Diagnosis {
    Diagnosis {
        cause: Cause::NoAnswer,
        severity: Severity::Error,
        message: format!("the server does not answer: {reason}"),
        evidence: Vec::new(),
        remedy: "Check that the Service has ready endpoints and that NetworkPolicies admit the API server, or the worker for a configured URL.".to_owned(),
    }
}

/// Climbs from [`Rung::Prometheus`] on.
#[must_use]
pub fn climb(answers: &Answers, mesh: &Mesh) -> (Rung, Vec<Diagnosis>) {
    let mut found = Vec::new();
    if let Some(stale) = stale(answers) {
        found.push(without_targets(answers, mesh).unwrap_or(stale));
        return (Rung::Prometheus, found);
    }
    let (failing, unscraped) = targets::incomplete(answers, mesh);
    if let Some(missing) = not_scraped(answers, mesh) {
        return (Rung::Fresh, why_nothing_is_scraped(missing, failing, unscraped));
    }
    found.extend(failing);
    found.extend(unscraped);
    let complete = found.iter().all(|one| one.severity == Severity::Info);
    let mut numbers = numbers::false_numbers(answers, mesh);
    // Proxies that are not scraped may have counted requests.
    numbers.retain(|one| complete || one.cause != Cause::NoTraffic);
    found.extend(numbers);
    let correct = found.iter().all(|one| one.severity == Severity::Info);
    let rung = match (complete, correct) {
        (false, _) => Rung::ScrapesIstio,
        (true, false) => Rung::Complete,
        (true, true) => Rung::Correct,
    };
    (rung, found)
}

/// The causes for a store without metrics of proxies: a more specific cause if there is one, otherwise that no proxy is
/// scraped.
fn why_nothing_is_scraped(
    missing: Diagnosis,
    failing: Vec<Diagnosis>,
    mut unscraped: Vec<Diagnosis>,
) -> Vec<Diagnosis> {
    let is_general = matches!(missing.cause, Cause::NothingScrapesIstio | Cause::ProxiesNotScraped);
    if is_general && !failing.is_empty() {
        return failing;
    }
    let has_cause = unscraped.iter().any(|one| one.cause != Cause::TargetsMissing);
    if missing.cause == Cause::ProxiesNotScraped && has_cause {
        return unscraped;
    }
    unscraped.retain(|one| is_general && one.cause == Cause::PodsForbidden);
    unscraped.insert(0, missing);
    unscraped
}

/// Why a store has no sample at all: often it has no job, which the objects of the cluster explain. A Prometheus of the
/// Operator whose selectors match no monitor is one.
fn without_targets(answers: &Answers, mesh: &Mesh) -> Option<Diagnosis> {
    let has_mesh = !mesh.expected.is_empty() || !mesh.root_namespaces.is_empty();
    let no_sample = is_empty(answers.newest.as_ref()) && answers.targets.as_ref().is_some_and(Vec::is_empty);
    if !has_mesh || !no_sample || answers.scoped {
        return None;
    }
    not_scraped(answers, mesh)
}

fn stale(answers: &Answers) -> Option<Diagnosis> {
    let newest = answers.newest.as_ref()?.series.first().and_then(super::envelope::Series::last);
    let lag = match (answers.now, newest) {
        (Some(now), Some(newest)) => now - newest,
        (_, None) => f64::INFINITY,
        (None, _) => return None,
    };
    if lag <= STALE_S {
        return None;
    }
    let message = if lag.is_finite() {
        format!("the newest sample is {lag:.0} s old")
    } else if answers.scoped {
        "the store has no sample of any target (`up`) with the scope labels of the connection".to_owned()
    } else {
        "the store has no sample of any target (`up`)".to_owned()
    };
    Some(Diagnosis {
        cause: Cause::Stale,
        severity: Severity::Error,
        message,
        evidence: vec!["max(timestamp(up)) compared with time()".to_owned()],
        remedy: "Check that the store scrapes targets, or that remote write to it works; `scrape.apply` makes or reports jobs for Istio.".to_owned(),
    })
}

pub use targets::namespaces_without_targets;

/// Whether the store's configuration may explain missing series or labels.
#[must_use]
pub fn lacks_series(answers: &Answers) -> bool {
    let unlabeled = |answer: &QueryAnswer| answer.series.iter().any(|series| series.label("reporter").is_empty());
    is_empty(answers.requests.as_ref())
        || is_empty(answers.buckets.as_ref())
        || answers.requests.as_ref().is_some_and(unlabeled)
}

fn is_empty(answer: Option<&QueryAnswer>) -> bool {
    answer.is_none_or(|answer| answer.series.is_empty())
}

/// Why the store has no data of the mesh.
fn not_scraped(answers: &Answers, mesh: &Mesh) -> Option<Diagnosis> {
    let build = |component: &str| {
        answers
            .builds
            .as_ref()
            .is_some_and(|answer| answer.series.iter().any(|series| series.label("component") == component))
    };
    let requests = !is_empty(answers.requests.as_ref()) || !is_empty(answers.tcp.as_ref());
    let control_plane = build("pilot");
    let data_plane = requests
        || build("proxy")
        || build("ztunnel")
        || answers.targets.as_ref().is_some_and(|targets| targets.iter().any(is_proxy_target));
    if data_plane || mesh.expected.is_empty() && control_plane {
        return None;
    }
    if !mesh.other_stores.is_empty() {
        return Some(other_store(mesh));
    }
    if let Some(unselected) = monitors::unselected(mesh) {
        return Some(unselected);
    }
    let uncovered = coverage::uncovered(mesh.expected.iter(), mesh);
    if uncovered.len() == mesh.expected.len()
        && let Some(uncovered) = coverage::not_covered(&uncovered, Severity::Error, mesh)
    {
        return Some(uncovered);
    }
    let (cause, mut message) = if control_plane {
        (Cause::ProxiesNotScraped, format!("istiod is scraped, none of {} is", plural(mesh.expected.len(), "proxy")))
    } else {
        (
            Cause::NothingScrapesIstio,
            "the store has no metric of Istio: neither istiod nor any proxy is scraped".to_owned(),
        )
    };
    let selectors = monitors::selectors(mesh);
    if !selectors.is_empty() && !monitors::exist(mesh) {
        message.push_str(", and the cluster has neither a PodMonitor nor a ServiceMonitor for Istio");
    }
    if mesh.expected.is_empty() && mesh.root_namespaces.is_empty() {
        return Some(no_mesh());
    }
    let remedy = if mesh.operator_prometheuses.is_empty() {
        "Send `scrape.apply` for this connection: it reports the scrape jobs to add to the store's configuration."
    } else {
        "Send `scrape.apply` for this connection: it creates monitors with the labels that the Prometheus object selects."
    };
    Some(Diagnosis {
        cause,
        severity: Severity::Error,
        message,
        evidence: ["count by (component, tag) (istio_build)", "count by (reporter) (istio_requests_total)"]
            .into_iter()
            .map(str::to_owned)
            .chain(selectors)
            .collect(),
        remedy: remedy.to_owned(),
    })
}

/// Neither the store nor the cluster has anything of Istio.
fn no_mesh() -> Diagnosis {
    Diagnosis {
        cause: Cause::NothingScrapesIstio,
        severity: Severity::Error,
        message: "the store has no metric of Istio, and the cluster has neither istiod nor a pod with a proxy".to_owned(),
        evidence: vec!["count by (component, tag) (istio_build)".to_owned(), "list of pods".to_owned()],
        remedy: "Install Istio and inject its proxy (`mesh.install`, `namespace.label`), or send the command for the target that the mesh is in.".to_owned(),
    }
}

/// This store has nothing of Istio, and another one has.
fn other_store(mesh: &Mesh) -> Diagnosis {
    Diagnosis {
        cause: Cause::OtherStore,
        severity: Severity::Error,
        message: format!("the store has no metric of Istio; {} has", names(&mesh.other_stores)),
        evidence: mesh.other_stores.clone(),
        remedy: "Connect that store instead (`connection.apply`).".to_owned(),
    }
}

fn is_proxy_target(target: &Value) -> bool {
    let port = target["scrapeUrl"].as_str().and_then(port_of);
    target["health"] == "up" && port.is_some_and(|port| PROXY_METRICS.contains(&port))
}

fn info(cause: Cause, message: String, remedy: &str) -> Diagnosis {
    Diagnosis { cause, severity: Severity::Info, message, evidence: Vec::new(), remedy: remedy.to_owned() }
}

fn warning(cause: Cause, message: String, remedy: &str) -> Diagnosis {
    Diagnosis { cause, severity: Severity::Warning, message, evidence: Vec::new(), remedy: remedy.to_owned() }
}

fn names(all: &[String]) -> String {
    let first: Vec<&str> = all.iter().take(NAMES).map(String::as_str).collect();
    let more = all.len().saturating_sub(NAMES);
    if more == 0 { first.join(", ") } else { format!("{} and {more} more", first.join(", ")) }
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests;
