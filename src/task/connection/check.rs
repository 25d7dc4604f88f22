//! `connection.check`: passes the steps of [`crate::observe::ladder`] for one store and reports what is missing and why.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::store::Store;
use super::{ConnectionError, discover, facts};
use crate::observe::envelope::{self, QueryAnswer};
use crate::observe::instance::{InstanceKind, ServiceAddress, root};
use crate::observe::ladder::{self, Answers, Diagnosis, Mesh, Rung};
use crate::observe::promql;
use crate::task::{Error, Failure, Limits, Outcome, Task, TaskContext};

/// The task.
pub struct Check;

/// Parameters of `connection.check`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckParams {
    /// Name of a connection: one made by `connection.apply`, or one of the worker's configuration for this target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 30), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub connection: Option<String>,
    /// A Service of the target instead of a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceAddress>,
    /// Window of your rates, in seconds; it should contain four scrapes. Default: the window of `metrics.query`.
    #[serde(default = "window")]
    #[schemars(range(min = 15, max = 86_400))]
    pub window_s: u64,
}

const fn window() -> u64 {
    120
}

/// Report of `connection.check`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckReport {
    /// The store, as messages name it.
    pub store: String,
    /// The last step that the store passes; `unreachable` if it passes none.
    pub rung: Rung,
    /// The last step there is: a store without an error or a warning has it as `rung`.
    pub of: Rung,
    /// Why the store does not pass the next step, and what falsifies numbers. `info` findings explain missing numbers that are no
    /// fault.
    pub findings: Vec<Diagnosis>,
    /// Pods that a store of this mesh should scrape.
    pub expected_targets: usize,
    /// Kinds of the cluster that could not be listed; what they would explain is not explained.
    pub unread: Vec<String>,
}

impl Task for Check {
    const VERB: &'static str = "connection.check";
    const SUMMARY: &'static str = "Checks whether a metrics store is reachable, authorized, fresh, and scrapes all of Istio; explains what is missing.";
    type Params = CheckParams;
    type Report = CheckReport;

    fn limits(&self) -> Limits {
        Limits { deadline: Duration::from_mins(2), attempts: 3 }
    }

    fn installation(&self, _: &CheckParams) -> Option<String> {
        None
    }

    fn example(&self) -> CheckParams {
        let service = ServiceAddress {
            namespace: "istio-system".to_owned(),
            name: "prometheus".to_owned(),
            port: 9090,
            path: root(),
            tls: false,
        };
        CheckParams { connection: None, service: Some(service), window_s: window() }
    }

    async fn run(&self, cx: &TaskContext, params: CheckParams) -> Result<Outcome<CheckReport>, Failure<CheckReport>> {
        let cluster = cx.cluster().await?;
        let store =
            Store::open(cx, (params.connection.as_deref(), params.service.as_ref()), InstanceKind::Prometheus).await?;
        cx.step("plan", 0, 3, format!("asking {}", store.address));
        let done = |rung, findings, mesh: &Mesh, unread| {
            let report = CheckReport {
                store: store.address.clone(),
                rung,
                of: Rung::Correct,
                findings,
                expected_targets: mesh.expected.len(),
                unread,
            };
            Outcome::Unchanged(report)
        };
        let nothing = Mesh::default();
        let answer = match store.get("/api/v1/query", &[("query", "vector(1)".to_owned())]).await {
            Ok(answer) => answer,
            Err(error) => {
                if let Error::Connection(cause) = &error
                    && let ConnectionError::NoAnswer { reason, .. } = cause.as_ref()
                {
                    return Ok(done(Rung::Unreachable, vec![ladder::no_answer(reason)], &nothing, Vec::new()));
                }
                return Err(error.into());
            }
        };
        if let Err(trouble) = envelope::query(&answer) {
            let (rung, finding) = ladder::unusable(&trouble);
            return Ok(done(rung, vec![finding], &nothing, Vec::new()));
        }
        cx.step("plan", 1, 3, "reading pods, monitors, policies and Telemetry of the cluster");
        let (mut mesh, mut unread) = facts::read(&cluster).await?;
        mesh.store_pods = facts::store_pods(&store, &mut unread).await?;
        cx.step("plan", 2, 3, "asking the store for Istio's metrics");
        let answers = ask(&store, params.window_s).await?;
        cx.guard.check()?;
        facts::add_forbidden_namespaces(&cluster, &answers, &mut mesh, &mut unread).await?;
        let (mut rung, mut findings) = ladder::climb(&answers, &mesh);
        if findings.iter().any(|one| one.cause == ladder::Cause::NothingScrapesIstio) {
            mesh.other_stores = discover::stores_with_istio(&cluster, &store).await?;
            (rung, findings) = ladder::climb(&answers, &mesh);
        }
        cx.guard.check()?;
        Ok(done(rung, findings, &mesh, unread))
    }
}

/// The queries of the steps; scope labels are in each selector.
async fn ask(store: &Store, window_s: u64) -> Result<Answers, Error> {
    let scope: Vec<String> =
        store.scope.iter().map(|(name, value)| format!("{name}=\"{}\"", promql::escaped(value))).collect();
    let scope = if scope.is_empty() { String::new() } else { format!("{{{}}}", scope.join(",")) };
    let query = async |promql: String| store.query(&promql, None).await;
    let counted = async |by: &str, metric: &str| -> Result<Option<QueryAnswer>, Error> {
        query(format!("count by ({by}) ({metric}{scope})")).await.map(Some)
    };
    let newest = newest(store, &scope).await?;
    let now = match newest.series.first().and_then(|series| series.samples.last()) {
        Some((now, _)) => Some(*now),
        None => query("time()".to_owned()).await?.series.first().and_then(envelope::Series::last),
    };
    let mut answers = Answers {
        now,
        newest: Some(newest),
        builds: counted("component, tag, cluster", "istio_build").await?,
        requests: counted("reporter", "istio_requests_total").await?,
        tcp: counted("reporter", "istio_tcp_sent_bytes_total").await?,
        buckets: counted("reporter", "istio_request_duration_milliseconds_bucket").await?,
        targets: targets(store).await?,
        scoped: !store.scope.is_empty(),
        window_s,
        ..Answers::default()
    };
    let twice = "count by (namespace, pod) (count by (namespace, pod, job, instance) (istio_requests_total";
    answers.twice = Some(query(format!("{twice}{scope})) > 1")).await?);
    answers.replicas = counted("prometheus_replica", "up").await?;
    let rest = query(promql::faults(&scope, window_s)).await?;
    answers.duplicates = Some(rest.with("of", promql::DUPLICATES));
    answers.merge_failures = Some(rest.with("of", promql::MERGE_FAILURES));
    answers.window_start = Some(rest.with("of", promql::WINDOW_START));
    if answers.targets.is_none() {
        let by_pod = format!(
            "count by (namespace, pod) \
             (istio_requests_total{scope} or istio_tcp_sent_bytes_total{scope} or istio_build{scope})"
        );
        answers.pods_seen = pods_seen(&query(by_pod).await?);
    }
    answers.victoria_metrics = discover::is_victoria_metrics(store).await;
    if ladder::lacks_series(&answers) {
        answers.configuration = configuration(store).await;
    }
    Ok(answers)
}

/// The store's configuration; none where it does not serve it, as Thanos and Mimir.
async fn configuration(store: &Store) -> Option<Value> {
    let data = store.data("/api/v1/status/config", &[]).await.ok()?;
    serde_saphyr::from_str(data["yaml"].as_str()?).ok()
}

/// The newest sample of `up` as a value.
async fn newest(store: &Store, scope: &str) -> Result<QueryAnswer, Error> {
    store.query(&format!("max(timestamp(up{scope}))"), None).await
}

fn pods_seen(answer: &QueryAnswer) -> Vec<String> {
    let name = |series: &envelope::Series| format!("{}/{}", series.label("namespace"), series.label("pod"));
    answer.series.iter().filter(|series| !series.label("pod").is_empty()).map(name).collect()
}

/// Active targets; none where the store does not serve them, as vmselect and Mimir.
async fn targets(store: &Store) -> Result<Option<Vec<Value>>, Error> {
    match store.active_targets().await {
        Err(Error::Connection(error))
            if matches!(*error, ConnectionError::TooLarge { .. } | ConnectionError::Unusable { .. }) =>
        {
            Ok(None)
        }
        targets => targets,
    }
}
