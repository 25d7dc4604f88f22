//! `scrape.apply` and `scrape.remove`: make a metrics store scrape Istio. For a Prometheus of the Prometheus Operator they
//! write `PodMonitor` and `ServiceMonitor` objects that its selectors match; for another one they report the scrape jobs.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{DynamicObject, TypeMeta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::connection::ConnectionError;
use super::connection::store::Store;
use super::names::Namespace;
use super::{Error, Failure, Outcome, Task, TaskContext, objects_ended};
use crate::analysis::istio::managed;
use crate::cluster::apply::apply;
use crate::cluster::delete::{DeleteOptions, delete};
use crate::cluster::{ApplyOptions, Cluster, Family, ObjectRef, ObjectReport, ObjectsReport};
use crate::observe::instance::InstanceKind;
use crate::observe::scrape::{self, Monitor};
use crate::prose::plural;

const NAME: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
const OPERATOR: &str = "monitoring.coreos.com/v1";

fn installation(connection: &str) -> String {
    format!("metrics-scrape-{connection}")
}

/// The task `scrape.apply`.
pub struct Apply;

/// Parameters of `scrape.apply`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyParams {
    /// Name of the connection to the store. A connection has one set of monitors; another command replaces it.
    #[schemars(length(min = 1, max = 30), regex(pattern = NAME))]
    pub connection: String,
    /// The object of the Prometheus Operator that stands for the store; found by the store's pods when absent. Needed for
    /// a connection by URL, and for a Thanos in front of a Prometheus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusObject>,
    /// Parts that are scraped; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    pub monitors: Vec<Monitor>,
    /// Namespace of the monitors. When absent, the first of these in which the Prometheus object reads monitors: its own
    /// namespace, that of istiod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// Labels of the monitors besides those that the Prometheus object's selectors require.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16), inner(length(max = 63)))]
    pub labels: BTreeMap<String, String>,
    /// Scrape interval, seconds.
    #[serde(default = "interval")]
    #[schemars(range(min = 1, max = 3600))]
    pub interval_s: u32,
    /// Take over monitors with our names that other tools have made.
    #[serde(default)]
    pub adopt: bool,
    /// Write although another job scrapes the same pods, which doubles rates, and take fields from other field managers.
    #[serde(default)]
    pub force: bool,
    /// Report what would be written, write nothing.
    #[serde(default)]
    pub dry_run: bool,
}

const fn interval() -> u32 {
    15
}

/// A `Prometheus` object of the Prometheus Operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrometheusObject {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    #[schemars(length(min = 1, max = 63), regex(pattern = NAME))]
    pub name: String,
}

/// Report of `scrape.apply` and `scrape.remove`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScrapeReport {
    /// The store, as messages name it.
    pub store: String,
    /// The object of the Prometheus Operator that selects the monitors, as `namespace/name`; absent for a store without
    /// the Operator, and after a removal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<String>,
    /// Scrape jobs as YAML, to be added to `scrape_configs` of a store without the Operator; then nothing was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<String>,
    /// The monitors.
    pub objects: Vec<ObjectReport>,
    /// Reasons why the store may not scrape Istio.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Nothing was written.
    #[serde(default)]
    pub dry_run: bool,
}

impl Task for Apply {
    const VERB: &'static str = "scrape.apply";
    const SUMMARY: &'static str = "Makes a connected metrics store scrape Istio: monitors that the Prometheus object selects, or the scrape jobs to add.";
    type Params = ApplyParams;
    type Report = ScrapeReport;

    fn objects(report: &Self::Report) -> Vec<&ObjectReport> {
        report.objects.iter().collect()
    }

    fn installation(&self, params: &ApplyParams) -> Option<String> {
        Some(installation(&params.connection))
    }

    fn example(&self) -> ApplyParams {
        ApplyParams {
            connection: "mesh".to_owned(),
            prometheus: None,
            monitors: vec![Monitor::Proxies, Monitor::ControlPlane],
            namespace: None,
            labels: BTreeMap::new(),
            interval_s: interval(),
            adopt: false,
            force: false,
            dry_run: false,
        }
    }

    async fn run(&self, cx: &TaskContext, params: ApplyParams) -> Result<Outcome<ScrapeReport>, Failure<ScrapeReport>> {
        let store = Store::open(cx, (Some(&params.connection), None), InstanceKind::Prometheus).await?;
        let cluster = cx.cluster().await?;
        let monitors = if params.monitors.is_empty() { Monitor::ALL.to_vec() } else { params.monitors.clone() };
        let mut report =
            ScrapeReport { store: store.address.clone(), dry_run: params.dry_run, ..ScrapeReport::default() };
        cx.step("plan", 0, 2, format!("asking {} what it scrapes", store.address));
        others(&store, &monitors, params.force, &mut report.warnings).await?;
        cx.step("plan", 1, 2, "looking for the store's Prometheus object");
        let Some(prometheus) = prometheus_object(&cluster, &store, params.prometheus.as_ref()).await? else {
            report.jobs = Some(scrape::jobs(&monitors, params.interval_s));
            if store.service().is_none() {
                report.warnings.push(OUTSIDE.to_owned());
            }
            return Ok(Outcome::Unchanged(report));
        };
        report.prometheus = Some(place(&prometheus));
        report.warnings.extend(scrape::limits(&prometheus));
        let objects = monitor_objects(&cluster, &prometheus, &monitors, &params).await?;
        let options = ApplyOptions {
            family: Family::Scrape,
            dry_run: params.dry_run,
            prune: true,
            adopt: params.adopt,
            force: params.force,
            generation: cx.generation,
            ..ApplyOptions::default()
        };
        let name = installation(&params.connection);
        let done = apply(&cluster, &name, objects, &options, &cx.guard, cx.progress.as_ref()).await;
        objects_ended(done, |done| with_objects(&report, done))
    }
}

/// What jobs need in a store that runs elsewhere.
const OUTSIDE: &str = "a store outside the cluster needs `kubeconfig_file`, or `api_server` with a credential, in each \
     `kubernetes_sd_configs` of these jobs, and a route to the addresses of pods; a Prometheus in the cluster with remote write \
     to the store needs neither";

fn with_objects(report: &ScrapeReport, done: ObjectsReport) -> ScrapeReport {
    ScrapeReport { objects: done.objects, ..report.clone() }
}

/// Refuses where another job scrapes the same pods. A store that does not answer, or serves no targets, is not known to.
async fn others(store: &Store, monitors: &[Monitor], force: bool, warnings: &mut Vec<String>) -> Result<(), Error> {
    let targets = match store.active_targets().await {
        Ok(targets) => targets.unwrap_or_default(),
        Err(Error::Connection(error)) => {
            warnings.push(format!("whether other jobs scrape Istio is not known: {error}"));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let jobs = scrape::other_jobs(&targets, monitors);
    if jobs.is_empty() {
        return Ok(());
    }
    let jobs = jobs.iter().map(|(job, targets)| format!("job {job} ({})", plural(*targets, "target"))).collect();
    let scraped = ConnectionError::Scraped { address: store.address.clone(), jobs };
    if !force {
        return Err(scraped.into());
    }
    warnings.push(format!("{scraped}: rates will be doubled until that job is removed"));
    Ok(())
}

fn place(object: &Value) -> String {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    format!("{}/{}", text("namespace"), text("name"))
}

/// The `Prometheus` object of the store: the named one, or that of the pods behind the store's Service.
async fn prometheus_object(
    cluster: &Cluster,
    store: &Store,
    named: Option<&PrometheusObject>,
) -> Result<Option<Value>, Error> {
    if let Some(named) = named {
        let (namespace, name) = (named.namespace.as_str(), &named.name);
        let live = cluster.get(&ObjectRef::new(OPERATOR, "Prometheus", Some(namespace), name)).await?;
        let missing = || ConnectionError::NoPrometheusObject { prometheus: format!("{namespace}/{name}") };
        return Ok(Some(live.ok_or_else(missing)?));
    }
    let pods = store.pods().await?;
    let Some(owner) = pods.iter().find_map(|pod| pod["metadata"]["labels"][scrape::OPERATOR_NAME].as_str()) else {
        return Ok(None);
    };
    let namespace = pods[0]["metadata"]["namespace"].as_str().unwrap_or_default();
    Ok(cluster.get(&ObjectRef::new(OPERATOR, "Prometheus", Some(namespace), owner)).await?)
}

async fn monitor_objects(
    cluster: &Cluster,
    prometheus: &Value,
    monitors: &[Monitor],
    params: &ApplyParams,
) -> Result<Vec<DynamicObject>, Error> {
    let mut namespaces = Vec::new();
    if let Some(kind) = cluster.kind("v1", "Namespace").await? {
        cluster.list(&kind, None, None, |space| namespaces.push(space)).await?;
    }
    let candidates = match &params.namespace {
        Some(namespace) => vec![namespace.to_string()],
        None => candidates(cluster, prometheus).await?,
    };
    let mut own = BTreeMap::from([
        (managed::BY.to_owned(), managed::SAILHAND.to_owned()),
        ("app.kubernetes.io/part-of".to_owned(), "istio-monitoring".to_owned()),
    ]);
    own.extend(params.labels.clone());
    let object = |monitor: &Monitor| {
        let selector = &prometheus["spec"][format!("{}Selector", monitor.field())];
        let chosen = scrape::namespace_for(prometheus, *monitor, &candidates, &namespaces)
            .and_then(|namespace| scrape::labels_for(selector, &own).map(|labels| (namespace, labels)));
        let (namespace, labels) = chosen.map_err(|reason| ConnectionError::NotSelected {
            prometheus: place(prometheus),
            kind: monitor.kind(),
            reason,
        })?;
        Ok(DynamicObject {
            types: Some(TypeMeta { api_version: OPERATOR.to_owned(), kind: monitor.kind().to_owned() }),
            metadata: ObjectMeta {
                name: Some(monitor.object_name().to_owned()),
                namespace: Some(namespace),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            data: json!({"spec": monitor.spec(params.interval_s)}),
        })
    };
    monitors.iter().map(object).collect()
}

/// The namespace of the `Prometheus` object, then those of istiod's Services.
async fn candidates(cluster: &Cluster, prometheus: &Value) -> Result<Vec<String>, Error> {
    let mut names = vec![prometheus["metadata"]["namespace"].as_str().unwrap_or_default().to_owned()];
    if let Some(kind) = cluster.kind("v1", "Service").await? {
        let mut add = |service: Value| {
            let name = service["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
            if !names.contains(&name) {
                names.push(name);
            }
        };
        cluster.list(&kind, None, Some("istio=pilot"), &mut add).await?;
    }
    Ok(names)
}

/// The task `scrape.remove`.
pub struct Remove;

/// Parameters of `scrape.remove`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveParams {
    /// Name of the connection.
    #[schemars(length(min = 1, max = 30), regex(pattern = NAME))]
    pub connection: String,
    /// Report what would be deleted, delete nothing.
    #[serde(default)]
    pub dry_run: bool,
}

impl Task for Remove {
    const VERB: &'static str = "scrape.remove";
    const SUMMARY: &'static str = "Removes exactly the monitors that scrape.apply has made for a connection.";
    type Params = RemoveParams;
    type Report = ScrapeReport;

    fn objects(report: &Self::Report) -> Vec<&ObjectReport> {
        report.objects.iter().collect()
    }

    fn installation(&self, params: &RemoveParams) -> Option<String> {
        Some(installation(&params.connection))
    }

    fn example(&self) -> RemoveParams {
        RemoveParams { connection: "mesh".to_owned(), dry_run: false }
    }

    async fn run(
        &self,
        cx: &TaskContext,
        params: RemoveParams,
    ) -> Result<Outcome<ScrapeReport>, Failure<ScrapeReport>> {
        let cluster = cx.cluster().await?;
        let report = ScrapeReport {
            store: format!("connection {}", params.connection),
            dry_run: params.dry_run,
            ..ScrapeReport::default()
        };
        let options = DeleteOptions {
            family: Family::Scrape,
            dry_run: params.dry_run,
            generation: cx.generation,
            ..DeleteOptions::default()
        };
        let name = installation(&params.connection);
        let done = delete(&cluster, &name, None, &options, &cx.guard, cx.progress.as_ref()).await;
        objects_ended(done, |done| with_objects(&report, done))
    }
}
