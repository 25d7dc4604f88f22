//! `connection.check`: climbs the ladder of [`crate::observe::ladder`] for one store and says what is missing and why.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ConnectionError;
use super::store::Store;
use crate::cluster::{self, Cluster};
use crate::observe::envelope::{self, QueryAnswer};
use crate::observe::instance::{InstanceKind, ServiceAddress, root};
use crate::observe::ladder::{self, Answers, Diagnosis, Mesh, Rung};
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
}

/// Report of `connection.check`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckReport {
    /// The store, as messages name it.
    pub store: String,
    /// Highest rung that was reached.
    pub rung: Rung,
    /// The highest rung there is; reached when `rung` equals it.
    pub of: Rung,
    /// Why the next rung was not reached, and what falsifies numbers. Empty for a store that serves Istio well.
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
        CheckParams { connection: None, service: Some(service) }
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
        cx.step("plan", 1, 3, "reading pods, monitors and Telemetry of the cluster");
        let (mesh, unread) = read_mesh(&cluster).await?;
        cx.step("plan", 2, 3, "asking the store for Istio's metrics");
        let answers = ask(&store).await?;
        cx.guard.check()?;
        let (rung, findings) = ladder::climb(&answers, &mesh);
        Ok(done(rung, findings, &mesh, unread))
    }
}

/// The queries of the ladder; scope labels are in each selector.
async fn ask(store: &Store) -> Result<Answers, Error> {
    let scope: Vec<String> = store
        .scope
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", crate::observe::promql::escaped(value)))
        .collect();
    let scope = if scope.is_empty() { String::new() } else { format!("{{{}}}", scope.join(",")) };
    let query = async |promql: String| store.query(&promql, None).await;
    let now = query("time()".to_owned()).await?.series.first().and_then(envelope::Series::last);
    let counted = async |by: &str, metric: &str| -> Result<Option<QueryAnswer>, Error> {
        query(format!("count by ({by}) ({metric}{scope})")).await.map(Some)
    };
    let twice = "count by (namespace, pod) (count by (namespace, pod, job, instance) (istio_requests_total";
    let by_pod = format!(
        "count by (namespace, pod) \
         (istio_requests_total{scope} or istio_tcp_sent_bytes_total{scope} or istio_build{scope})"
    );
    Ok(Answers {
        now,
        newest: Some(newest(store, &scope).await?),
        builds: counted("component, tag", "istio_build").await?,
        requests: counted("reporter", "istio_requests_total").await?,
        tcp: counted("reporter", "istio_tcp_sent_bytes_total").await?,
        buckets: counted("reporter", "istio_request_duration_milliseconds_bucket").await?,
        twice: Some(query(format!("{twice}{scope})) > 1")).await?),
        clusters: counted("cluster", "istio_build").await?,
        targets: targets(store).await?,
        pods_seen: pods_seen(&query(by_pod).await?),
        scoped: !store.scope.is_empty(),
    })
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
    let answer = match store.get("/api/v1/targets", &[("state", "active".to_owned())]).await {
        Ok(answer) => answer,
        Err(Error::Connection(error)) if matches!(*error, ConnectionError::TooLarge { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Ok((data, _)) = envelope::data(&answer) else { return Ok(None) };
    Ok(data["activeTargets"].as_array().cloned())
}

/// What of the mesh a store should scrape, and what explains missing targets. Lists that are forbidden are named.
async fn read_mesh(cluster: &Cluster) -> Result<(Mesh, Vec<String>), Error> {
    let mut mesh = Mesh::default();
    let mut unread = Vec::new();
    let mut pods = Vec::new();
    let mut gateways = Vec::new();
    for (api_version, kind) in [
        ("v1", "Pod"),
        ("v1", "Namespace"),
        ("monitoring.coreos.com/v1", "Prometheus"),
        ("monitoring.coreos.com/v1", "PodMonitor"),
        ("monitoring.coreos.com/v1", "ServiceMonitor"),
        ("telemetry.istio.io/v1", "Telemetry"),
        ("gateway.networking.k8s.io/v1", "Gateway"),
    ] {
        let Some(served) = cluster.kind(api_version, kind).await? else { continue };
        let into = match kind {
            "Pod" => &mut pods,
            "Namespace" => &mut mesh.namespaces,
            "Prometheus" => &mut mesh.operator_prometheuses,
            "Telemetry" => &mut mesh.telemetries,
            "Gateway" => &mut gateways,
            _ => &mut mesh.monitors,
        };
        let listed = cluster.list(&served, None, None, |mut object| {
            object["kind"] = Value::from(kind);
            into.push(object);
        });
        match listed.await {
            Ok(()) => {}
            Err(error @ cluster::Error::Request { .. }) => unread.push(format!("{kind}: {error}")),
            Err(error) => return Err(error.into()),
        }
    }
    for pod in &pods {
        sort(pod, &mut mesh);
    }
    mesh.ambient_without_waypoint = ambient_without_waypoint(&mesh.namespaces, &gateways);
    Ok((mesh, unread))
}

/// Whether a store should scrape the pod, and by which annotation.
fn sort(pod: &Value, mesh: &mut Mesh) {
    let running = pod["status"]["phase"] == "Running" && pod["metadata"]["deletionTimestamp"].is_null();
    if !running || !crate::analysis::istio::pod::has_sidecar(pod) {
        return;
    }
    let metadata = &pod["metadata"];
    let text = |field: &str| metadata[field].as_str().unwrap_or_default();
    let place = format!("{}/{}", text("namespace"), text("name"));
    match metadata["annotations"]["prometheus.io/port"].as_str() {
        Some("15020") => {}
        Some(_) => mesh.wrong_annotation.push(place.clone()),
        None => mesh.without_annotation.push(place.clone()),
    }
    mesh.expected.push(place);
}

fn ambient_without_waypoint(namespaces: &[Value], gateways: &[Value]) -> Vec<String> {
    let has_waypoint = |space: &Value| {
        gateways.iter().any(|gateway| {
            gateway["spec"]["gatewayClassName"] == "istio-waypoint"
                && gateway["metadata"]["namespace"] == space["metadata"]["name"]
        })
    };
    namespaces
        .iter()
        .filter(|space| space["metadata"]["labels"]["istio.io/dataplane-mode"] == "ambient" && !has_waypoint(space))
        .filter_map(|space| space["metadata"]["name"].as_str().map(str::to_owned))
        .collect()
}
