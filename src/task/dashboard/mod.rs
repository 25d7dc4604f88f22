//! `dashboard.apply` and `dashboard.remove`: data source, folder and dashboards for a Grafana that is named by a
//! connection, delivered by the way that fits it.

mod api;
mod objects;
mod plan;
mod sync;
mod way;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::connection::ConnectionError;
use super::connection::store::Store;
use super::names::Namespace;
use super::{Error, Failure, Outcome, Task, TaskContext, objects_ended};
use crate::cluster::apply::apply;
use crate::cluster::delete::{DeleteOptions, delete};
use crate::cluster::{Action, ApplyOptions, Family, ObjectReport, ObjectsReport};
use crate::hex::hex;
use crate::observe::dashboard::DashboardName;
use crate::observe::instance::InstanceKind;
use plan::Set;
use sync::Sync;
use way::Delivery;

pub use way::{By, Way};

const NAME: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// The installation of a Grafana's dashboards, and name of the `ConfigMap` with the record of what was made by the API.
fn installation(grafana: &str) -> String {
    format!("grafana-dashboards-{grafana}")
}

/// The task `dashboard.apply`.
pub struct Apply;

/// Parameters of `dashboard.apply`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyParams {
    /// Name of the connection to the Grafana. One Grafana connection has one set of dashboards; another command
    /// replaces it.
    #[schemars(length(min = 1, max = 30), regex(pattern = NAME))]
    pub grafana: String,
    /// Name of the connection to the metrics store. A data source is made for it. Its scope labels are in each query.
    #[schemars(length(min = 1, max = 30), regex(pattern = NAME))]
    pub prometheus: String,
    /// Uid of a data source that the Grafana has already; then none is made. Needed for a store that wants a credential,
    /// because no credential is passed to Grafana.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40), regex(pattern = "^[A-Za-z0-9_-]+$"))]
    pub data_source_uid: Option<String>,
    /// Scrape interval of the store, seconds; it decides the window of rates. Grafana takes 15 s when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub scrape_interval_s: Option<u32>,
    /// Title of the folder.
    #[serde(default = "folder")]
    #[schemars(length(min = 1, max = 60), regex(pattern = "^[A-Za-z0-9]([A-Za-z0-9 _.-]*[A-Za-z0-9])?$"))]
    pub folder: String,
    /// Which dashboards; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub dashboards: Vec<DashboardName>,
    /// How they are delivered.
    #[serde(default)]
    pub by: Way,
    /// Namespace of the `ConfigMaps` or custom resources, for `sidecar` and `operator`; that of the Grafana when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// Overwrite objects with our uids that this target has no record of, and take over Kubernetes objects of other tools.
    #[serde(default)]
    pub adopt: bool,
    /// Overwrite what was edited since.
    #[serde(default)]
    pub force: bool,
    /// Report what would be written, write nothing.
    #[serde(default)]
    pub dry_run: bool,
}

fn folder() -> String {
    "Istio".to_owned()
}

/// Report of `dashboard.apply` and `dashboard.remove`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DashboardReport {
    /// The Grafana, as messages name it.
    pub grafana: String,
    /// How the dashboards are delivered; absent after a removal that found nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
    /// Version of the Grafana, where it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Folder, data source and dashboards in Grafana; written by the API, by a sidecar or by the operator.
    pub items: Vec<ItemReport>,
    /// Kubernetes objects that carry them, and the record of what the API has written.
    pub objects: Vec<ObjectReport>,
    /// Answer of the data source's health check; absent where it was not asked or has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_source: Option<DataSourceHealth>,
    /// Reasons why the dashboards may show nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Nothing was written.
    #[serde(default)]
    pub dry_run: bool,
}

/// Health of a data source, as Grafana reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataSourceHealth {
    /// Whether Grafana could query it.
    pub healthy: bool,
    /// Grafana's message.
    pub message: String,
}

/// Kind of an item in Grafana.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ItemKind {
    /// A folder.
    Folder,
    /// A data source.
    DataSource,
    /// A dashboard.
    Dashboard,
}

impl ItemKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::DataSource => "data source",
            Self::Dashboard => "dashboard",
        }
    }
}

/// One item in Grafana.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ItemReport {
    /// Its kind.
    pub kind: ItemKind,
    /// Its uid.
    pub uid: String,
    /// Its title or name.
    pub title: String,
    /// Path below the Grafana's own URL; dashboards only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The action.
    pub action: Action,
    /// Why it was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Task for Apply {
    const VERB: &'static str = "dashboard.apply";
    const SUMMARY: &'static str = "Creates a data source, a folder and dashboards of the mesh in a Grafana.";
    type Params = ApplyParams;
    type Report = DashboardReport;

    fn objects(report: &Self::Report) -> Vec<&ObjectReport> {
        report.objects.iter().collect()
    }

    fn installation(&self, params: &ApplyParams) -> Option<String> {
        Some(installation(&params.grafana))
    }

    fn example(&self) -> ApplyParams {
        ApplyParams {
            grafana: "central".to_owned(),
            prometheus: "mesh".to_owned(),
            data_source_uid: None,
            scrape_interval_s: Some(15),
            folder: folder(),
            dashboards: vec![DashboardName::Mesh, DashboardName::ControlPlane],
            by: Way::Auto,
            namespace: None,
            adopt: false,
            force: false,
            dry_run: false,
        }
    }

    async fn run(
        &self,
        cx: &TaskContext,
        params: ApplyParams,
    ) -> Result<Outcome<DashboardReport>, Failure<DashboardReport>> {
        let grafana = Store::open(cx, (Some(&params.grafana), None), InstanceKind::Grafana).await?;
        let prometheus = Store::open(cx, (Some(&params.prometheus), None), InstanceKind::Prometheus).await?;
        let cluster = cx.cluster().await?;
        cx.step("plan", 0, 1, format!("choosing the way to {}", grafana.address));
        let delivery = way::choose(&cluster, &grafana, &params).await?;
        let set = Set::new(&cx.target, &params, &prometheus);
        let mut report = DashboardReport {
            grafana: grafana.address.clone(),
            by: Some(delivery.by()),
            dry_run: params.dry_run,
            warnings: set.warnings.clone(),
            ..DashboardReport::default()
        };
        match delivery {
            Delivery::Addon => {
                let reason = "addon.apply has provisioned this Grafana with data source and dashboards".to_owned();
                report.items = set.reported(Action::Skipped, Some(&reason));
                Ok(Outcome::Unchanged(report))
            }
            Delivery::Api => {
                let sync = Sync { cx, cluster: &cluster, grafana: &grafana, name: installation(&params.grafana) };
                sync.apply(set, &params, report).await
            }
            Delivery::Sidecar(sidecar) => {
                report.warnings.extend(sidecar.warnings(&set));
                let objects = objects::config_maps(&set, &params, &sidecar);
                deliver(cx, &params, objects, &set, report).await
            }
            Delivery::Operator(operator) => {
                let objects = objects::custom_resources(&set, &params, &operator);
                deliver(cx, &params, objects, &set, report).await
            }
        }
    }
}

/// Applies the Kubernetes objects that carry the dashboards.
async fn deliver(
    cx: &TaskContext,
    params: &ApplyParams,
    objects: Vec<kube::core::DynamicObject>,
    set: &Set,
    report: DashboardReport,
) -> Result<Outcome<DashboardReport>, Failure<DashboardReport>> {
    let cluster = cx.cluster().await?;
    let name = installation(&params.grafana);
    if sync::read_record(&cluster, &name).await?.is_some_and(|record| !record.is_empty()) {
        // Without the record, `dashboard.remove` could not find the dashboards.
        let reason =
            "its dashboards were written by the API: run dashboard.remove first, or set `by` to api".to_owned();
        let address = report.grafana.clone();
        return Err(Error::from(ConnectionError::NoWay { address, reason }).into());
    }
    let options = ApplyOptions {
        family: Family::Dashboard,
        dry_run: params.dry_run,
        prune: true,
        force: params.force,
        adopt: params.adopt,
        generation: cx.generation,
        ..ApplyOptions::default()
    };
    let done = apply(&cluster, &name, objects, &options, &cx.guard, cx.progress.as_ref()).await;
    objects_ended(done, |done| with_objects(&report, done, |action| set.reported(action, None)))
}

/// The report with the Kubernetes objects. The items have the action of most weight among the objects.
fn with_objects(
    report: &DashboardReport,
    done: ObjectsReport,
    items: impl Fn(Action) -> Vec<ItemReport>,
) -> DashboardReport {
    let written = done.objects.iter().map(|object| object.action).find(|action| action.writes());
    DashboardReport { items: items(written.unwrap_or(Action::Unchanged)), objects: done.objects, ..report.clone() }
}

/// The task `dashboard.remove`.
pub struct Remove;

/// Parameters of `dashboard.remove`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveParams {
    /// Name of the connection to the Grafana.
    #[schemars(length(min = 1, max = 30), regex(pattern = NAME))]
    pub grafana: String,
    /// Delete what was edited since, and a data source that other dashboards use.
    #[serde(default)]
    pub force: bool,
    /// Report what would be deleted, delete nothing.
    #[serde(default)]
    pub dry_run: bool,
}

impl Task for Remove {
    const VERB: &'static str = "dashboard.remove";
    const SUMMARY: &'static str = "Removes the objects that dashboard.apply created in a Grafana.";
    type Params = RemoveParams;
    type Report = DashboardReport;

    fn objects(report: &Self::Report) -> Vec<&ObjectReport> {
        report.objects.iter().collect()
    }

    fn installation(&self, params: &RemoveParams) -> Option<String> {
        Some(installation(&params.grafana))
    }

    fn example(&self) -> RemoveParams {
        RemoveParams { grafana: "central".to_owned(), force: false, dry_run: false }
    }

    async fn run(
        &self,
        cx: &TaskContext,
        params: RemoveParams,
    ) -> Result<Outcome<DashboardReport>, Failure<DashboardReport>> {
        let cluster = cx.cluster().await?;
        let name = installation(&params.grafana);
        let mut report = DashboardReport {
            grafana: format!("connection {}", params.grafana),
            dry_run: params.dry_run,
            ..DashboardReport::default()
        };
        if let Some(record) = sync::read_record(&cluster, &name).await? {
            let grafana = Store::open(cx, (Some(&params.grafana), None), InstanceKind::Grafana).await?;
            report.by = Some(By::Api);
            let sync = Sync { cx, cluster: &cluster, grafana: &grafana, name: name.clone() };
            return sync.remove(record, &params, report).await;
        }
        remove_objects(cx, &name, params.dry_run, &report).await
    }
}

async fn remove_objects(
    cx: &TaskContext,
    name: &str,
    dry_run: bool,
    report: &DashboardReport,
) -> Result<Outcome<DashboardReport>, Failure<DashboardReport>> {
    let cluster = cx.cluster().await?;
    let options =
        DeleteOptions { family: Family::Dashboard, dry_run, generation: cx.generation, ..DeleteOptions::default() };
    let done = delete(&cluster, name, None, &options, &cx.guard, cx.progress.as_ref()).await;
    objects_ended(done, |done| DashboardReport { objects: done.objects, ..report.clone() })
}

/// First 16 hex digits of a SHA-256.
fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hex(&hash.finalize()[..8])
}
