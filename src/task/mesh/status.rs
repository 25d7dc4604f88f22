//! `mesh.status`: what there is of Istio, who made it, and whether it is as it was applied. Reads only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common_params::CommonParams;
use super::facts::{self, list};
use super::{admission, leftovers, rendered_chart};
use crate::chart::Charts;
use crate::cluster::{self, Cluster, ObjectRef, ObjectReport, wait};
use crate::mesh::{
    Component, Finding, Installed, ObservedMesh, PlannedChart, Request, Severity, Version, owner::Owner, skew, support,
    usage,
};
use crate::task::{Error, Failure, Limits, Outcome, Task, TaskContext};

/// Maximum number of differences and of namespaces in the report.
const MOST: usize = 200;

/// The verb `mesh.status`.
pub struct Status {
    charts: Arc<Charts>,
}

impl Status {
    /// Renders these charts to find drift.
    #[must_use]
    pub fn new(charts: &Arc<Charts>) -> Self {
        Self { charts: Arc::clone(charts) }
    }
}

/// Parameters of `mesh.status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusParams {
    /// Compare what this worker has installed with the cluster, by a dry run of the same.
    #[serde(default = "yes")]
    pub drift: bool,
}

const fn yes() -> bool {
    true
}

/// Report of `mesh.status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusReport {
    /// The API server's version.
    pub kubernetes: String,
    /// Version of the Gateway API's CRDs; `unknown` when they do not say, absent when there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_api: Option<String>,
    /// Each istiod.
    pub control_planes: Vec<ControlPlaneStatus>,
    /// Components that this worker has installed.
    pub parts: Vec<PartStatus>,
    /// Each tag with the revision it points to.
    pub tags: Vec<TagStatus>,
    /// Namespaces in the mesh.
    pub namespaces: Vec<NamespaceStatus>,
    /// Proxies in all.
    pub proxies: usize,
    /// Findings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

/// One istiod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlPlaneStatus {
    /// Its revision, `default` for the default one.
    pub revision: String,
    /// Its namespace.
    pub namespace: String,
    /// Tag of its image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Who installed it.
    pub installed_by: Owner,
    /// Whether it is available.
    pub ready: bool,
    /// Whether the Istio project supported this version when this worker was built.
    pub supported: bool,
    /// Its proxies, by version.
    pub proxies: BTreeMap<String, usize>,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PartStatus {
    /// Which part.
    pub component: Component,
    /// The revision, the tag or the gateway, where there can be several.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Version of its chart.
    pub version: Version,
    /// Its namespace.
    pub namespace: String,
    /// Its workloads are as they should be; so is a part that has none.
    #[serde(default)]
    pub ready: bool,
    /// Objects that are not ready, with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<String>,
    /// Changes that a new run would write.
    pub drift: Vec<ObjectReport>,
}

/// One tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TagStatus {
    /// The tag.
    pub tag: String,
    /// Where it points to.
    pub revision: String,
    /// Who made it.
    pub installed_by: Owner,
}

/// One namespace in the mesh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamespaceStatus {
    /// Its name.
    pub namespace: String,
    /// The revision or tag that it selects; absent in ambient mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// It is in ambient mode.
    pub ambient: bool,
}

impl Task for Status {
    const VERB: &'static str = "mesh.status";
    const SUMMARY: &'static str =
        "Shows control planes, components, tags and namespaces of Istio, who installed them, and drift.";
    type Params = StatusParams;
    type Report = Box<StatusReport>;

    fn limits(&self) -> Limits {
        Limits { deadline: Duration::from_mins(5), attempts: 3 }
    }

    fn installation(&self, _: &StatusParams) -> Option<String> {
        None
    }

    fn example(&self) -> StatusParams {
        StatusParams { drift: true }
    }

    async fn run(
        &self,
        cx: &TaskContext,
        params: StatusParams,
    ) -> Result<Outcome<Box<StatusReport>>, Failure<Box<StatusReport>>> {
        let cluster = cx.cluster().await?;
        let facts = facts::read(&cluster).await?;
        let mut report = observe(&cluster, &facts).await.map_err(Error::from)?;
        let dead = admission::dead(&cluster).await.map_err(Error::from)?;
        report.findings.extend(admission::findings(&dead, Severity::Error));
        let orphans = leftovers::orphans(&cluster, &facts).await.map_err(Error::from)?;
        report.findings.extend(orphans.into_iter().map(|text| Finding::new(Severity::Warning, "leftovers", text)));
        let total = facts.installed.len();
        let mut parts: Vec<_> = facts.installed.iter().collect();
        parts.sort_by_key(|part| (part.origin.component, part.origin.name.as_str()));
        let stored = cluster::stored(&cluster).await.map_err(Error::from)?;
        for (index, installed) in parts.into_iter().enumerate() {
            let origin = &installed.origin;
            let objects = stored.iter().find(|it| it.installation == installed.installation);
            let waiting = waiting(&cluster, cx, objects.map(|it| &it.objects)).await?;
            let mut status = PartStatus {
                component: origin.component,
                name: origin.name.clone(),
                version: origin.version.clone(),
                namespace: origin.namespace.clone(),
                ready: waiting.is_empty(),
                waiting,
                drift: Vec::new(),
            };
            if params.drift && origin.component.chart().is_some() {
                cx.step(
                    "plan",
                    index,
                    total,
                    format!("comparing {} {}", origin.component.as_str(), origin.name).trim_end().to_owned(),
                );
                match self.drift(cx, &cluster, &facts, installed).await {
                    Ok(drift) => status.drift = drift,
                    Err(error) => {
                        let message =
                            format!("{} {} cannot be compared: {error}", origin.component.as_str(), origin.name);
                        report.findings.push(Finding::new(Severity::Warning, "drift", message));
                    }
                }
            }
            report.parts.push(status);
        }
        Ok(Outcome::Unchanged(Box::new(report)))
    }
}

impl Status {
    /// Changes that the same command would write now.
    async fn drift(
        &self,
        cx: &TaskContext,
        cluster: &Cluster,
        facts: &ObservedMesh,
        installed: &Installed,
    ) -> Result<Vec<ObjectReport>, Error> {
        let origin = &installed.origin;
        let part = rendered_chart::render(&self.charts, PlannedChart::of(origin), &facts.kubernetes, None).await?;
        let common = CommonParams { dry_run: true, wait: Duration::ZERO, ..CommonParams::default() };
        let request = origin.request.as_deref().cloned().unwrap_or_else(|| Request::of(origin.version.clone()));
        let report = match part.apply(cx, cluster, &request, &common, "drift").await {
            Ok(report) | Err((_, report)) => report,
        };
        let mut drift: Vec<_> =
            report.objects.into_iter().filter(|line| line.action.writes() || line.problem.is_some()).collect();
        drift.truncate(MOST);
        Ok(drift)
    }
}

/// Workloads that are not as they should be, with the reason. One look: nothing is waited for.
async fn waiting(
    cluster: &Cluster,
    cx: &TaskContext,
    objects: Option<&BTreeSet<ObjectRef>>,
) -> Result<Vec<String>, Error> {
    let is_workload = |object: &&ObjectRef| matches!(object.kind.as_str(), "Deployment" | "DaemonSet");
    let workloads: Vec<_> = objects.into_iter().flatten().filter(is_workload).cloned().collect();
    if workloads.is_empty() {
        return Ok(Vec::new());
    }
    match wait::until_ready(cluster, &workloads, Duration::ZERO, &cx.guard, &()).await {
        Ok(()) => Ok(Vec::new()),
        Err(cluster::Error::NotReady { waiting, .. }) => Ok(waiting),
        Err(cluster::Error::WorkloadFailed { object, reason }) => Ok(vec![format!("{object}: {reason}")]),
        Err(error) => Err(error.into()),
    }
}

/// The state without a comparison of objects.
async fn observe(cluster: &Cluster, facts: &ObservedMesh) -> Result<StatusReport, cluster::Error> {
    let spaces = list(cluster, "v1", "Namespace", None).await?;
    let proxies: Vec<_> = list(cluster, "v1", "Pod", None).await?.iter().filter_map(usage::proxy).collect();
    let mut findings: Vec<_> = usage::overlaps(&facts.webhooks)
        .into_iter()
        .map(|text| Finding::new(Severity::Error, "webhooks", text))
        .collect();
    if facts.control_planes.is_empty() {
        let message = "the cluster has no control plane of Istio";
        findings.push(Finding::new(Severity::Info, "control-plane", message));
    }
    let mut control_planes = Vec::new();
    for plane in &facts.control_planes {
        let version: Option<Version> = plane.version.as_deref().and_then(|text| text.parse().ok());
        let mut by_version: BTreeMap<String, usize> = BTreeMap::new();
        for proxy in proxies.iter().filter(|proxy| proxy.revision == plane.revision) {
            let text = proxy.version.clone().unwrap_or_else(|| "unknown".to_owned());
            *by_version.entry(text).or_default() += 1;
        }
        if let Some(version) = &version {
            for text in by_version.keys() {
                if text.parse().is_ok_and(|proxy| !skew::serves(version, &proxy)) {
                    let message = format!(
                        "proxies of version {text} are outside the supported skew of revision {} ({version})",
                        plane.revision
                    );
                    findings.push(Finding::new(Severity::Warning, "skew", message));
                }
            }
            findings.extend(skew::check_pair(version, &facts.kubernetes));
        }
        control_planes.push(ControlPlaneStatus {
            revision: plane.revision.clone(),
            namespace: plane.namespace.clone(),
            version: plane.version.clone(),
            installed_by: plane.owner,
            ready: plane.ready,
            supported: version.as_ref().is_some_and(support::is_supported),
            proxies: by_version,
        });
    }
    let tag = |webhook: &crate::mesh::Webhook| {
        let tag = webhook.tag.clone()?;
        Some(TagStatus { tag, revision: webhook.revision.clone(), installed_by: webhook.owner })
    };
    let mut namespaces: Vec<_> = spaces
        .iter()
        .filter_map(|space| {
            let labels = usage::labels(space);
            let (revision, ambient) = (usage::namespace_revision(&labels), usage::is_ambient(&labels));
            (revision.is_some() || ambient).then(|| NamespaceStatus {
                namespace: space["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
                revision: revision.map(str::to_owned),
                ambient,
            })
        })
        .collect();
    for space in &namespaces {
        let known = |revision: &str| {
            facts.webhooks.iter().any(|it| it.revision == revision || it.tag.as_deref() == Some(revision))
        };
        if let Some(revision) = space.revision.as_deref().filter(|revision| !known(revision)) {
            let message = format!("namespace {} selects revision {revision}, which does not exist", space.namespace);
            findings.push(Finding::new(Severity::Warning, "revision", message));
        }
    }
    namespaces.truncate(MOST);
    Ok(StatusReport {
        kubernetes: facts.kubernetes.text.clone(),
        gateway_api: facts.gateway_api.clone(),
        control_planes,
        parts: Vec::new(),
        tags: facts.webhooks.iter().filter_map(tag).collect(),
        namespaces,
        proxies: proxies.len(),
        findings,
    })
}
