//! `metrics.query`: golden signals of the mesh, a namespace, a service or a workload.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::observe::instance::{InstanceKind, ServiceAddress};
use crate::observe::promql::{self, Matchers, Subject, TcpMetric};
use crate::observe::signals::{self, ErrorClass, SignalValue};
use crate::task::connection::store::Store;
use crate::task::{Error, Failure, Limits, Outcome, Task, TaskContext};

/// Values of one signal in a report.
const MOST: usize = 500;

/// The task.
pub struct Query;

/// A golden signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SignalKind {
    /// Requests a second, HTTP and gRPC.
    Rate,
    /// Share of requests that failed, 0 to 1.
    Errors,
    /// Median and 95th and 99th percentile of the request duration, in milliseconds.
    Latency,
    /// Bytes a second of TCP connections, as clients see them.
    Tcp,
}

const ALL: [SignalKind; 4] = [SignalKind::Rate, SignalKind::Errors, SignalKind::Latency, SignalKind::Tcp];

/// Parameters of `metrics.query`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueryParams {
    /// Name of a connection: one made by `connection.apply`, or one of the worker's configuration for this target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 30), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub connection: Option<String>,
    /// A Service of the target instead of a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceAddress>,
    /// Scope of the signals; the whole mesh when absent.
    #[serde(default = "mesh")]
    pub of: Subject,
    /// Which signals; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub signals: Vec<SignalKind>,
    /// Whether to split by the label `version` of the workloads.
    #[serde(default)]
    pub by_version: bool,
    /// Time over which rates are taken, seconds. It should be at least four scrape intervals of the store.
    #[serde(default = "window")]
    #[schemars(range(min = 15, max = 86_400))]
    pub window_s: u64,
    /// Which responses count as errors.
    #[serde(default)]
    pub errors: ErrorClass,
    /// Time of the query, RFC 3339; now when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"), length(max = 40), regex(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9]{2}:[0-9]{2})$"))]
    pub at: Option<String>,
}

const fn mesh() -> Subject {
    Subject::Mesh {}
}

const fn window() -> u64 {
    120
}

/// Report of `metrics.query`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueryReport {
    /// The store, as messages name it.
    pub store: String,
    /// The requested signals.
    pub signals: Vec<Signal>,
    /// Warnings of the store.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One signal.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signal {
    /// `rate`, `errors`, `latency-p50`, `latency-p95`, `latency-p99`, `tcp-sent` or `tcp-received`.
    pub name: String,
    /// `requests-per-second`, `ratio`, `milliseconds` or `bytes-per-second`.
    pub unit: String,
    /// The query that was sent.
    pub query: String,
    /// One value for each service (and version), at most 500. Empty: the store has no series, so there was no traffic
    /// or nothing is scraped; `connection.check` shows which.
    pub values: Vec<SignalValue>,
}

impl Task for Query {
    const VERB: &'static str = "metrics.query";
    const SUMMARY: &'static str =
        "Reports the golden signals (rate, errors, latency, TCP) of the mesh, a namespace, a service or a workload.";
    type Params = QueryParams;
    type Report = QueryReport;

    fn limits(&self) -> Limits {
        Limits { deadline: Duration::from_mins(1), attempts: 3 }
    }

    fn installation(&self, _: &QueryParams) -> Option<String> {
        None
    }

    fn example(&self) -> QueryParams {
        QueryParams {
            connection: Some("mesh".to_owned()),
            service: None,
            of: Subject::Service { namespace: "bookinfo".to_owned(), name: "reviews".to_owned() },
            signals: vec![SignalKind::Rate, SignalKind::Errors],
            by_version: true,
            window_s: window(),
            errors: ErrorClass::Server,
            at: None,
        }
    }

    async fn run(&self, cx: &TaskContext, params: QueryParams) -> Result<Outcome<QueryReport>, Failure<QueryReport>> {
        let store =
            Store::open(cx, (params.connection.as_deref(), params.service.as_ref()), InstanceKind::Prometheus).await?;
        let wanted = if params.signals.is_empty() { ALL.to_vec() } else { params.signals.clone() };
        let mut queries = SignalQueries { store: &store, params: &params, signals: Vec::new(), warnings: Vec::new() };
        if wanted.contains(&SignalKind::Rate) || wanted.contains(&SignalKind::Errors) {
            queries.requests(&wanted).await?;
        }
        cx.guard.check()?;
        if wanted.contains(&SignalKind::Latency) {
            queries.latency().await?;
        }
        cx.guard.check()?;
        if wanted.contains(&SignalKind::Tcp) {
            queries.tcp("tcp-sent", TcpMetric::Sent).await?;
            queries.tcp("tcp-received", TcpMetric::Received).await?;
        }
        cx.guard.check()?;
        let SignalQueries { signals, warnings, .. } = queries;
        Ok(Outcome::Unchanged(QueryReport { store: store.address.clone(), signals, warnings }))
    }
}

struct SignalQueries<'a> {
    store: &'a Store,
    params: &'a QueryParams,
    signals: Vec<Signal>,
    warnings: Vec<String>,
}

impl SignalQueries<'_> {
    fn matchers(&self) -> Matchers {
        Matchers::of(&self.params.of, &self.store.scope)
    }

    async fn ask(&mut self, query: &str) -> Result<crate::observe::envelope::QueryAnswer, Error> {
        let answer = self.store.query(query, self.params.at.as_deref()).await?;
        self.warnings.extend(answer.warnings.iter().cloned());
        Ok(answer)
    }

    fn push(&mut self, name: &str, unit: &str, query: &str, values: impl Iterator<Item = SignalValue>) {
        let values = values.take(MOST).collect();
        self.signals.push(Signal { name: name.to_owned(), unit: unit.to_owned(), query: query.to_owned(), values });
    }

    async fn requests(&mut self, wanted: &[SignalKind]) -> Result<(), Error> {
        let query = promql::requests(&self.matchers(), self.params.window_s);
        let answer = self.ask(&query).await?;
        let traffic = signals::traffic(&answer, self.params.by_version, self.params.errors);
        if wanted.contains(&SignalKind::Rate) {
            let values = traffic.iter().map(|(key, (by, traffic))| signals::value(key, *by, traffic.rate, false));
            self.push("rate", "requests-per-second", &query, values);
        }
        if wanted.contains(&SignalKind::Errors) {
            let with_traffic = traffic.iter().filter(|(_, (_, traffic))| traffic.rate > 0.0);
            let values =
                with_traffic.map(|(key, (by, traffic))| signals::value(key, *by, traffic.failed / traffic.rate, false));
            self.push("errors", "ratio", &query, values);
        }
        Ok(())
    }

    async fn latency(&mut self) -> Result<(), Error> {
        let query = promql::latency_buckets(&self.matchers(), self.params.by_version, self.params.window_s);
        let answer = self.ask(&query).await?;
        for (name, quantile) in [("latency-p50", 0.5), ("latency-p95", 0.95), ("latency-p99", 0.99)] {
            let latency = signals::latency(&answer, self.params.by_version, quantile);
            let values =
                latency.iter().map(|(key, (by, value, saturated))| signals::value(key, *by, *value, *saturated));
            self.push(name, "milliseconds", &query, values);
        }
        Ok(())
    }

    async fn tcp(&mut self, name: &str, metric: TcpMetric) -> Result<(), Error> {
        let query = promql::tcp_bytes(metric, &self.matchers(), self.params.window_s);
        let answer = self.ask(&query).await?;
        let bytes = signals::bytes(&answer, self.params.by_version);
        let values = bytes.iter().map(|(key, (by, value))| signals::value(key, *by, *value, false));
        self.push(name, "bytes-per-second", &query, values);
        Ok(())
    }
}
