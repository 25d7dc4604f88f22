//! `metrics.query`: golden signals of the mesh, a namespace, a service or a workload, now and over time.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::observe::chart::{self, Line, Past};
use crate::observe::envelope::{QueryAnswer, Unusable};
use crate::observe::instance::{InstanceKind, ServiceAddress};
use crate::observe::promql::{self, Selection, Subject, TcpMetric};
use crate::observe::signals::{self, ErrorClass, SignalValue};
use crate::task::connection::ConnectionError;
use crate::task::connection::store::Store;
use crate::task::{Error, Failure, Limits, Outcome, Task, TaskContext};

/// Values of one signal in a report.
const MOST: usize = 500;
/// Values of one signal with their history, so that a report fits into a message.
const MOST_POINTS: usize = 20;
/// Steps of a history: it has one time more.
const STEPS: u32 = 60;

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
    /// Of istiod: connected proxies, pushes and rejected pushes a second, time until a change has reached all proxies, and
    /// time until the root certificate expires.
    ControlPlane,
}

const OF_SERVICES: [SignalKind; 4] = [SignalKind::Rate, SignalKind::Errors, SignalKind::Latency, SignalKind::Tcp];

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
    /// Which signals. When empty all but `control-plane`, and for the whole mesh `control-plane` too. Whatever `of` is,
    /// `control-plane` is about the whole mesh.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
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
    /// Also reports how the numbers changed over this time, seconds: 61 points until `at`, and a chart of each signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 604_800))]
    pub history_s: Option<u32>,
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
    /// The times of `points`; absent without `history_s`, and when the store has no series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
    /// Warnings of the store, histories that are too large, and samples that begin within the window, for which rates are too
    /// low.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Times of the points of a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// Time of the first point, seconds since the Unix epoch by the store's clock.
    pub start_s: f64,
    /// Time between two points, seconds.
    pub step_s: f64,
}

/// One signal.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signal {
    /// `rate`, `errors`, `latency-p50`, `latency-p95`, `latency-p99`, `tcp-sent`, `tcp-received`, or
    /// `control-plane-proxies`, `-pushes`, `-rejects`, `-convergence-p99` or `-root-certificate`.
    pub name: String,
    /// `requests-per-second`, `ratio`, `milliseconds`, `bytes-per-second`, `count`, `pushes-per-second`,
    /// `rejects-per-second` or `seconds`.
    pub unit: String,
    /// The query that was sent.
    pub query: String,
    /// One value for each service (and version), at most 500. Empty: the store has no series, so there was no traffic
    /// or nothing is scraped; `connection.check` shows which.
    pub values: Vec<SignalValue>,
    /// With `history_s`: an SVG document with a line for each of the eight largest values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub svg: Option<String>,
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
            history_s: None,
        }
    }

    async fn run(&self, cx: &TaskContext, params: QueryParams) -> Result<Outcome<QueryReport>, Failure<QueryReport>> {
        let store =
            Store::open(cx, (params.connection.as_deref(), params.service.as_ref()), InstanceKind::Prometheus).await?;
        let wanted = match (params.signals.is_empty(), &params.of) {
            (true, Subject::Mesh {}) => [&OF_SERVICES[..], &[SignalKind::ControlPlane]].concat(),
            (true, _) => OF_SERVICES.to_vec(),
            (false, _) => params.signals.clone(),
        };
        let (signals, warnings) = (Vec::new(), Vec::new());
        let mut queries = SignalQueries { store: &store, params: &params, signals, history: None, warnings };
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
        if wanted.contains(&SignalKind::ControlPlane) {
            queries.control_plane().await?;
        }
        cx.guard.check()?;
        queries.warn_of_short_samples().await?;
        let SignalQueries { signals, history, warnings, .. } = queries;
        Ok(Outcome::Unchanged(QueryReport { store: store.address.clone(), signals, history, warnings }))
    }
}

struct SignalQueries<'a> {
    store: &'a Store,
    params: &'a QueryParams,
    signals: Vec<Signal>,
    history: Option<History>,
    warnings: Vec<String>,
}

/// A query and its answers.
struct Asked {
    query: String,
    now: QueryAnswer,
    past: Option<Past>,
}

impl SignalQueries<'_> {
    fn selection(&self) -> Selection {
        Selection::of(&self.params.of, &self.store.scope)
    }

    async fn ask(&mut self, query: String) -> Result<Asked, Error> {
        let now = self.store.query(&query, self.params.at.as_deref()).await?;
        self.warnings.extend(now.warnings.iter().cloned());
        let past = self.ask_for_past(&query, &now).await?;
        Ok(Asked { query, now, past })
    }

    async fn ask_for_past(&mut self, query: &str, now: &QueryAnswer) -> Result<Option<Past>, Error> {
        let newest = now.series.first().and_then(|series| series.samples.last());
        let (Some(span), Some((end, _))) = (self.params.history_s, newest) else { return Ok(None) };
        let step = (f64::from(span) / f64::from(STEPS)).round().max(1.0);
        let start = end - step * f64::from(STEPS);
        let answer = match self.store.query_range(query, (start, *end), step).await {
            Ok(answer) => answer,
            Err(Error::Connection(error)) if is_too_large(&error) => {
                self.warnings.push(format!("no history: {error}; choose a namespace or a service"));
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        self.warnings.extend(answer.warnings.iter().cloned());
        self.history.get_or_insert(History { start_s: start, step_s: step });
        Ok(Some(Past::of(answer, start, step, STEPS as usize)))
    }

    /// Adds a signal: `values` reads the numbers of one time.
    fn push(&mut self, name: &str, unit: &str, asked: &mut Asked, values: impl Fn(&QueryAnswer) -> Vec<SignalValue>) {
        let mut now = values(&asked.now);
        now.retain(|value| value.reporter.is_none() || self.params.of.covers(&value.namespace, &value.service));
        now.truncate(MOST);
        let svg = asked.past.as_mut().map(|past| {
            let largest = add_points(&mut now, past, &values);
            let line = |at: &usize| Line { name: now[*at].name(), points: &now[*at].points };
            let lines: Vec<Line<'_>> = largest.iter().take(chart::MOST_LINES).map(line).collect();
            chart::svg(&format!("{name} ({})", unit.replace('-', " ")), &lines)
        });
        let (name, unit, query) = (name.to_owned(), unit.to_owned(), asked.query.clone());
        self.signals.push(Signal { name, unit, query, values: now, svg });
    }

    async fn requests(&mut self, wanted: &[SignalKind]) -> Result<(), Error> {
        let (by_version, errors) = (self.params.by_version, self.params.errors);
        let mut asked = self.ask(promql::requests(&self.selection(), self.params.window_s)).await?;
        if wanted.contains(&SignalKind::Rate) {
            self.push("rate", "requests-per-second", &mut asked, |answer| {
                let traffic = signals::traffic(answer, by_version, errors);
                traffic.iter().map(|(key, (by, traffic))| signals::value(key, *by, traffic.rate, false)).collect()
            });
        }
        if wanted.contains(&SignalKind::Errors) {
            self.push("errors", "ratio", &mut asked, |answer| {
                let traffic = signals::traffic(answer, by_version, errors);
                let with_traffic = traffic.iter().filter(|(_, (_, traffic))| traffic.rate > 0.0);
                let ratio = |traffic: &signals::Traffic| traffic.failed / traffic.rate;
                with_traffic.map(|(key, (by, traffic))| signals::value(key, *by, ratio(traffic), false)).collect()
            });
        }
        Ok(())
    }

    async fn latency(&mut self) -> Result<(), Error> {
        let by_version = self.params.by_version;
        let query = promql::latency_buckets(&self.selection(), by_version, self.params.window_s);
        let mut asked = self.ask(query).await?;
        for (name, quantile) in [("latency-p50", 0.5), ("latency-p95", 0.95), ("latency-p99", 0.99)] {
            self.push(name, "milliseconds", &mut asked, |answer| {
                let latency = signals::latency(answer, by_version, quantile);
                let value = |(key, (by, value, saturated)): (&signals::Key, &(signals::Reporter, f64, bool))| {
                    signals::value(key, *by, *value, *saturated)
                };
                latency.iter().map(value).collect()
            });
        }
        Ok(())
    }

    async fn tcp(&mut self, name: &str, metric: TcpMetric) -> Result<(), Error> {
        let by_version = self.params.by_version;
        let mut asked = self.ask(promql::tcp_bytes(metric, &self.selection(), self.params.window_s)).await?;
        self.push(name, "bytes-per-second", &mut asked, |answer| {
            let bytes = signals::bytes(answer, by_version);
            bytes.iter().map(|(key, (by, value))| signals::value(key, *by, *value, false)).collect()
        });
        Ok(())
    }

    /// Adds a warning for rates of series whose samples begin within the window.
    async fn warn_of_short_samples(&mut self) -> Result<(), Error> {
        let has = |name: &str| self.signals.iter().any(|signal| signal.name == name && !signal.values.is_empty());
        let asked = [
            (has("rate") || has("latency-p50"), promql::START_OF_REQUESTS, "requests"),
            (has("tcp-sent"), promql::START_OF_TCP, "TCP bytes"),
        ];
        if asked.iter().all(|(has, ..)| !has) {
            return Ok(());
        }
        let query = promql::window_start(&self.selection(), self.params.window_s);
        let before = self.store.query(&query, self.params.at.as_deref()).await?;
        for (_, of, what) in asked.into_iter().filter(|(has, ..)| *has) {
            if !signals::has_start(&before, of) {
                self.warnings.push(format!(
                    "rates of {what} are of a part of the window (Prometheus shows them too low): the store has no sample of them \
                     from before the window of {} s",
                    self.params.window_s
                ));
            }
        }
        Ok(())
    }

    async fn control_plane(&mut self) -> Result<(), Error> {
        let mut asked = self.ask(promql::control_plane(&self.store.scope, self.params.window_s)).await?;
        for (name, unit) in promql::CONTROL_PLANE {
            let signal = format!("control-plane-{name}");
            self.push(&signal, unit, &mut asked, |answer| signals::control_plane(answer, name).into_iter().collect());
        }
        Ok(())
    }
}

/// Adds their history to the largest values, and answers their places, largest first.
fn add_points(
    now: &mut [SignalValue],
    past: &mut Past,
    values: impl Fn(&QueryAnswer) -> Vec<SignalValue>,
) -> Vec<usize> {
    let mut largest: Vec<usize> = (0..now.len()).collect();
    largest.sort_by(|a, b| now[*b].value.total_cmp(&now[*a].value));
    largest.truncate(MOST_POINTS);
    let times = past.times();
    for at in &largest {
        now[*at].points = vec![None; times];
    }
    past.each(|time, answer| {
        let then = values(answer);
        for at in &largest {
            let one = &mut now[*at];
            let same = |other: &&SignalValue| {
                (&other.namespace, &other.service, &other.version) == (&one.namespace, &one.service, &one.version)
            };
            one.points[time] = then.iter().find(same).map(|other| other.value);
        }
    });
    largest
}

fn is_too_large(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::TooLarge { .. } | ConnectionError::Unusable { source: Unusable::TooLarge, .. })
}
