//! How useful a Prometheus is for Istio: a ladder of checks, each with its evidence. A store that answers is not yet one
//! that has Istio's metrics; the report names the highest rung that was reached and why the next one was not.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::envelope::{QueryAnswer, Unusable};
use crate::analysis::istio::selector::{selects, selects_namespace};

/// The rungs, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// No HTTP answer came.
    Unreachable,
    /// An HTTP answer came.
    Reachable,
    /// The request is authorized.
    Authorized,
    /// The answer is one of Prometheus' HTTP API.
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

/// Why a rung was not reached, or what falsifies numbers. The words are part of the contract.
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
    /// Pods with a proxy that no target stands for.
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
}

/// Answers of the store. `None` is a query that was not asked, because a lower one failed.
#[derive(Debug, Default)]
pub struct Answers {
    /// `max(timestamp(up))`.
    pub newest: Option<QueryAnswer>,
    /// `time()`.
    pub now: Option<f64>,
    /// `count by (component, tag) (istio_build)`.
    pub builds: Option<QueryAnswer>,
    /// `count by (reporter) (istio_requests_total)`.
    pub requests: Option<QueryAnswer>,
    /// `count by (reporter) (istio_tcp_sent_bytes_total)`.
    pub tcp: Option<QueryAnswer>,
    /// `count by (reporter) (istio_request_duration_milliseconds_bucket)`.
    pub buckets: Option<QueryAnswer>,
    /// Number of jobs that scrape each pod of the proxies, only pods with more than one.
    pub twice: Option<QueryAnswer>,
    /// `count by (cluster) (istio_build)`.
    pub clusters: Option<QueryAnswer>,
    /// `data.activeTargets` of `/api/v1/targets?state=active`; none where the store has no such endpoint.
    pub targets: Option<Vec<Value>>,
    /// Pods with Istio series, as `namespace/name`; used where there are no targets.
    pub pods_seen: Vec<String>,
    /// Whether the connection has scope labels.
    pub scoped: bool,
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
        found.push(stale);
        return (Rung::Prometheus, found);
    }
    if let Some(missing) = not_scraped(answers, mesh) {
        found.push(missing);
        return (Rung::Fresh, found);
    }
    found.extend(incomplete(answers, mesh));
    let complete = found.iter().all(|one| one.severity == Severity::Info);
    found.extend(false_numbers(answers, mesh));
    let correct = found.iter().all(|one| one.severity == Severity::Info);
    let rung = match (complete, correct) {
        (false, _) => Rung::ScrapesIstio,
        (true, false) => Rung::Complete,
        (true, true) => Rung::Correct,
    };
    (rung, found)
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
    } else {
        "the store has no sample of any target (`up`)".to_owned()
    };
    Some(Diagnosis {
        cause: Cause::Stale,
        severity: Severity::Error,
        message,
        evidence: vec!["max(timestamp(up)) compared with time()".to_owned()],
        remedy: "Check that the store scrapes targets, or that remote write to it works.".to_owned(),
    })
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
    if let Some(unselected) = unselected_monitor(mesh) {
        return Some(unselected);
    }
    let (cause, message) = if control_plane {
        (Cause::ProxiesNotScraped, format!("istiod is scraped, none of {} proxies is", mesh.expected.len()))
    } else {
        (
            Cause::NothingScrapesIstio,
            "the store has no metric of Istio: neither istiod nor any proxy is scraped".to_owned(),
        )
    };
    let remedy = if mesh.operator_prometheuses.is_empty() {
        "Send `scrape.apply` for this connection: it reports the scrape jobs to add to the store's configuration."
    } else {
        "Send `scrape.apply` for this connection: it creates monitors with the labels that the Prometheus object selects."
    };
    Some(Diagnosis {
        cause,
        severity: Severity::Error,
        message,
        evidence: vec![
            "count by (component, tag) (istio_build)".to_owned(),
            "count by (reporter) (istio_requests_total)".to_owned(),
        ],
        remedy: remedy.to_owned(),
    })
}

fn is_proxy_target(target: &Value) -> bool {
    let url = target["scrapeUrl"].as_str().unwrap_or_default();
    target["health"] == "up" && (url.contains(":15020/") || url.contains(":15090/"))
}

/// A monitor for Istio that no Prometheus object selects.
fn unselected_monitor(mesh: &Mesh) -> Option<Diagnosis> {
    let of_istio = |monitor: &&Value| {
        let text = monitor["spec"].to_string();
        ["istio", "15020", "15090", "15014", "http-envoy-prom", "envoy"].iter().any(|word| text.contains(word))
    };
    for monitor in mesh.monitors.iter().filter(of_istio) {
        let kind = monitor["kind"].as_str().unwrap_or("PodMonitor");
        let field = if kind == "ServiceMonitor" { "serviceMonitor" } else { "podMonitor" };
        let reasons: Vec<String> = mesh
            .operator_prometheuses
            .iter()
            .filter_map(|prometheus| refusal(prometheus, monitor, field, &mesh.namespaces))
            .collect();
        if reasons.is_empty() || reasons.len() < mesh.operator_prometheuses.len() {
            continue;
        }
        let place = format!("{kind} {}/{}", text(monitor, "namespace"), text(monitor, "name"));
        return Some(Diagnosis {
            cause: Cause::MonitorNotSelected,
            severity: Severity::Error,
            message: format!("{place} is not selected: {}", reasons.join("; ")),
            evidence: vec![place],
            remedy: "Add the labels that the selector requires to the monitor or its namespace, or widen the selector."
                .to_owned(),
        });
    }
    None
}

/// Why a Prometheus object does not select a monitor; none when it does. Source: Prometheus Operator's API types: an
/// absent selector selects nothing, an empty one everything; an absent namespace selector means the object's own
/// namespace.
fn refusal(prometheus: &Value, monitor: &Value, field: &str, namespaces: &[Value]) -> Option<String> {
    let name = format!("Prometheus {}/{}", text(prometheus, "namespace"), text(prometheus, "name"));
    let selector = &prometheus["spec"][format!("{field}Selector")];
    if selector.is_null() {
        return Some(format!("{name} has no {field}Selector, which selects nothing"));
    }
    if !selects(selector, &monitor["metadata"]["labels"]) {
        return Some(format!("its labels do not match {field}Selector {selector} of {name}"));
    }
    let own = text(prometheus, "namespace") == text(monitor, "namespace");
    let spaces = &prometheus["spec"][format!("{field}NamespaceSelector")];
    if spaces.is_null() {
        return (!own).then(|| format!("{name} has no {field}NamespaceSelector, which means its own namespace only"));
    }
    let space = namespaces.iter().find(|one| one["metadata"]["name"] == monitor["metadata"]["namespace"]);
    let labels = space.map_or(&Value::Null, |one| &one["metadata"]["labels"]);
    (!selects_namespace(spaces, text(monitor, "namespace"), Some(labels)))
        .then(|| format!("its namespace does not match {field}NamespaceSelector {spaces} of {name}"))
}

/// Proxies without a target, and targets that fail.
fn incomplete(answers: &Answers, mesh: &Mesh) -> Vec<Diagnosis> {
    let mut found = Vec::new();
    let (seen, down) = seen(answers);
    let missing: Vec<&String> = mesh.expected.iter().filter(|pod| !seen.contains(pod)).collect();
    if !down.is_empty() {
        found.push(Diagnosis {
            cause: Cause::TargetsDown,
            severity: Severity::Warning,
            message: format!("{} of Istio's targets fail: {}", down.len(), names(&down)),
            evidence: down.iter().take(NAMES).cloned().collect(),
            remedy: "Read the target's error: a timeout points at a NetworkPolicy; EOF or a reset at mTLS on an application port; port 15020 and 15090 are plaintext also under STRICT.".to_owned(),
        });
    }
    let missing: Vec<String> = missing.into_iter().cloned().collect();
    if missing.is_empty() {
        return found;
    }
    let wrong: Vec<String> = mesh.wrong_annotation.iter().filter(|pod| missing.contains(pod)).cloned().collect();
    let without: Vec<String> = mesh.without_annotation.iter().filter(|pod| missing.contains(pod)).cloned().collect();
    let (cause, message, remedy) = if !wrong.is_empty() {
        (
            Cause::WrongAnnotation,
            format!("{} injected pods carry a prometheus.io/port that is not 15020: {}", wrong.len(), names(&wrong)),
            "Restart the workloads, so that the injector writes the annotation, or remove it from the pod template.",
        )
    } else if !without.is_empty() {
        (
            Cause::MergingOff,
            format!(
                "{} injected pods have no prometheus.io annotations, because metrics merging is off: {}",
                without.len(),
                names(&without)
            ),
            "Set meshConfig.enablePrometheusMerge to true and restart the workloads, or scrape port 15090 with a PodMonitor.",
        )
    } else {
        (
            Cause::TargetsMissing,
            format!(
                "{} of {} pods with a proxy are not scraped: {}",
                missing.len(),
                mesh.expected.len(),
                names(&missing)
            ),
            "Check that the scrape job or the PodMonitor covers their namespaces, and that Prometheus may list pods there.",
        )
    };
    found.push(Diagnosis {
        cause,
        severity: Severity::Warning,
        message,
        evidence: missing.iter().take(NAMES).map(|pod| format!("Pod {pod}")).collect(),
        remedy: remedy.to_owned(),
    });
    found
}

/// Pods with a target that is up, and failing targets with their errors.
fn seen(answers: &Answers) -> (Vec<String>, Vec<String>) {
    let Some(targets) = &answers.targets else { return (answers.pods_seen.clone(), Vec::new()) };
    let mut up = answers.pods_seen.clone();
    let mut down = Vec::new();
    for target in targets {
        let labels = &target["labels"];
        let discovered = &target["discoveredLabels"];
        let pod = labels["pod"].as_str().or_else(|| discovered["__meta_kubernetes_pod_name"].as_str());
        let space = labels["namespace"].as_str().or_else(|| discovered["__meta_kubernetes_namespace"].as_str());
        let (Some(pod), Some(space)) = (pod, space) else { continue };
        let pod = format!("{space}/{pod}");
        let url = target["scrapeUrl"].as_str().unwrap_or_default();
        if target["health"] == "up" {
            up.push(pod);
        } else if target["health"] == "down" && [":15020", ":15090", ":15014"].iter().any(|port| url.contains(port)) {
            let error = super::envelope::cut(target["lastError"].as_str().unwrap_or_default(), 200);
            down.push(format!("{pod}: {error}"));
        }
    }
    (up, down)
}

/// What makes numbers wrong although everything is scraped.
fn false_numbers(answers: &Answers, mesh: &Mesh) -> Vec<Diagnosis> {
    let mut found = Vec::new();
    let idle = is_empty(answers.requests.as_ref()) && is_empty(answers.tcp.as_ref());
    if idle {
        found.push(info(
            Cause::NoTraffic,
            "proxies are scraped and have counted no request and no connection yet".to_owned(),
            "None needed: send a request through the mesh to see metrics.",
        ));
    }
    if !answers.requests.as_ref().is_none_or(|answer| answer.series.is_empty()) && is_empty(answers.buckets.as_ref()) {
        found.push(warning(Cause::BucketsDropped, "istio_requests_total is there and istio_request_duration_milliseconds_bucket is not".to_owned(), "Remove the metric_relabel_configs rule that drops _bucket series; until then only average latency can be shown."));
    }
    if let Some(twice) = answers.twice.as_ref().filter(|answer| !answer.series.is_empty()) {
        let pods: Vec<String> = twice
            .series
            .iter()
            .map(|series| format!("{}/{}", series.label("namespace"), series.label("pod")))
            .collect();
        found.push(warning(
            Cause::ScrapedTwice,
            format!("{} pods are scraped by more than one job, so rates are doubled: {}", pods.len(), names(&pods)),
            "Remove one of the scrape jobs, or restrict the connection's scope to one job.",
        ));
    }
    if let Some(clusters) = answers.clusters.as_ref().filter(|answer| answer.series.len() > 1 && !answers.scoped) {
        let names: Vec<String> = clusters.series.iter().map(|series| series.label("cluster").to_owned()).collect();
        found.push(warning(
            Cause::SeveralClusters,
            format!("the store holds metrics of {} clusters: {}", names.len(), self::names(&names)),
            "Give the connection a scope, such as {\"cluster\": \"<name>\"}.",
        ));
    }
    for telemetry in &mesh.telemetries {
        let text = telemetry["spec"]["metrics"].to_string();
        if text.contains("\"disabled\":true") || text.contains("\"REMOVE\"") {
            let place = format!("Telemetry {}/{}", self::text(telemetry, "namespace"), self::text(telemetry, "name"));
            found.push(info(Cause::TelemetryRemovesMetrics, format!("{place} disables metrics or removes labels"), "Check that the overrides leave the labels that signals need: reporter, destination_service_name, response_code."));
        }
    }
    if !mesh.ambient_without_waypoint.is_empty() {
        found.push(info(
            Cause::AmbientWithoutWaypoint,
            format!(
                "ambient namespaces without a waypoint have TCP metrics only: {}",
                names(&mesh.ambient_without_waypoint)
            ),
            "Deploy a waypoint to get HTTP metrics.",
        ));
    }
    let warnings: Vec<&String> = [&answers.builds, &answers.requests, &answers.tcp]
        .into_iter()
        .flatten()
        .flat_map(|answer| &answer.warnings)
        .collect();
    if let Some(first) = warnings.first() {
        found.push(warning(
            Cause::PartialAnswer,
            format!("the store answers with a warning: {first}"),
            "Check the store's components: some of them did not answer.",
        ));
    }
    found
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
