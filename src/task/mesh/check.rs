//! `mesh.precheck`: checks whether `mesh.install` with the same parameters would succeed. Reads, and tries each write
//! by dry run.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use serde_json::Value;

use super::common_params::CommonParams;
use super::facts::{self, list};
use super::mesh_run::MeshRun;
use super::rendered_chart::Part;
use super::{precheck, rehearsal};
use crate::chart::Charts;
use crate::cluster::Cluster;
use crate::error::Classify as _;
use crate::mesh::{
    self, Component, Finding, ObservedMesh, Plan, Profile, Request, Severity, Version, resources, usage,
};
use crate::task::{Error, Failure, Limits, Outcome, Task, TaskContext};

/// The verb `mesh.precheck`.
pub struct Precheck {
    charts: Arc<Charts>,
}

impl Precheck {
    /// The charts that an installation would use.
    #[must_use]
    pub fn new(charts: &Arc<Charts>) -> Self {
        Self { charts: Arc::clone(charts) }
    }
}

/// Parameters of `mesh.precheck`: those of `mesh.install` that say what is to be installed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrecheckParams {
    /// The mesh.
    #[serde(flatten)]
    pub mesh: Request,
}

/// Report of `mesh.precheck`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrecheckReport {
    /// No finding is an error: `mesh.install` with the same parameters would succeed.
    pub ready: bool,
    /// The API server's version.
    pub kubernetes: String,
    /// The cluster's platform, such as `gke`, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Findings, the most severe first.
    pub findings: Vec<Finding>,
}

impl Task for Precheck {
    const VERB: &'static str = "mesh.precheck";
    const SUMMARY: &'static str =
        "Checks whether the cluster meets the requirements for installing or upgrading Istio.";
    type Params = PrecheckParams;
    type Report = PrecheckReport;

    fn limits(&self) -> Limits {
        Limits { deadline: Duration::from_mins(5), attempts: 3 }
    }

    fn installation(&self, _: &PrecheckParams) -> Option<String> {
        None
    }

    fn example(&self) -> PrecheckParams {
        PrecheckParams { mesh: Request { profile: Profile::Ambient, ..Request::of(Version::example()) } }
    }

    async fn run(
        &self,
        cx: &TaskContext,
        params: PrecheckParams,
    ) -> Result<Outcome<PrecheckReport>, Failure<PrecheckReport>> {
        let cluster = cx.cluster().await?;
        let facts = facts::read(&cluster).await?;
        let plan = mesh::plan(&params.mesh, &facts);
        let mut findings = mesh::side_effects(&params.mesh, &facts, &plan);
        findings.extend(precheck::before(&cluster, &params.mesh, &facts).await?);
        // Those with a webhook of the installation are errors.
        let overlaps = usage::overlaps(&facts.webhooks);
        findings.extend(overlaps.into_iter().map(|text| Finding::new(Severity::Warning, "webhooks", text)));
        findings.extend(hints(&params.mesh, &facts));
        findings.extend(self.predict(cx, &cluster, &params.mesh, &facts, plan).await?);
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.rank()));
        let mut seen = BTreeSet::new();
        findings.retain(|finding| seen.insert(finding.message.clone()));
        let report = PrecheckReport {
            ready: findings.iter().all(|finding| finding.severity < Severity::Error),
            kubernetes: facts.kubernetes.text.clone(),
            platform: facts.platform.map(str::to_owned),
            findings,
        };
        Ok(Outcome::Unchanged(report))
    }
}

impl Precheck {
    /// Findings of an installation: the plan's findings, charts that do not render, parts that it would
    /// have to delete, nodes without room, webhooks, quotas, and objects that the API server refuses.
    async fn predict(
        &self,
        cx: &TaskContext,
        cluster: &Cluster,
        request: &Request,
        facts: &ObservedMesh,
        plan: Plan,
    ) -> Result<Vec<Finding>, Error> {
        let mut findings = plan.findings;
        let fatal = findings.iter().any(|finding| finding.refuses(true));
        let removed = facts.installed.iter().filter(|it| plan.removals.contains(&it.installation));
        let removed: Vec<_> = removed.map(|it| it.origin.title()).collect();
        if !removed.is_empty() {
            let message = format!("the installation would delete {}: set prune_components", removed.join(", "));
            findings.push(Finding::new(Severity::Error, "components", message));
        }
        if fatal {
            return Ok(findings);
        }
        let common = CommonParams { dry_run: true, ..CommonParams::default() };
        let work = MeshRun::new(cx, cluster, &self.charts, request, &common);
        let parts = match work.render(facts, plan.steps).await {
            Ok(parts) => parts,
            Err(Error::Chart(error)) => {
                let message = format!("{error} ({})", error.code());
                findings.push(Finding::new(Severity::Error, "charts", message));
                return Ok(findings);
            }
            Err(error) => return Err(error),
        };
        findings.extend(work.judge(facts, &parts).await?);
        findings.extend(space(cluster, &parts).await?);
        let failures = rehearsal::rehearse(cx, cluster, request, false, &parts).await?;
        findings.extend(failures.iter().flat_map(rehearsal::Failures::findings));
        Ok(findings)
    }
}

/// Hints about platforms, for components that run on nodes.
fn hints(request: &Request, facts: &ObservedMesh) -> Option<Finding> {
    let on_nodes = request.profile.in_mode(request.mode).is_some_and(|profile| profile.components().cni);
    if !on_nodes && request.components.cni != Some(true) {
        return None;
    }
    let text = match facts.platform? {
        "gke" => "on GKE the CNI plugin and ztunnel go into kube-system, and global.platform is set to gke",
        "openshift" if request.profile.platform().is_none() => {
            "on OpenShift the profiles openshift and openshift-ambient have the paths of its nodes"
        }
        "k3s" => "on k3s the paths of CNI differ: set global.platform to k3s by values",
        "rke2" => "on RKE2 the paths of CNI differ: set cni.cniBinDir and cni.cniConfDir by values",
        _ => return None,
    };
    Some(Finding::new(Severity::Info, "cni", text))
}

/// Whether some node accepts the pod of the control plane.
async fn space(cluster: &Cluster, parts: &[Part]) -> Result<Option<Finding>, Error> {
    let Some(istiod) = parts.iter().find(|part| part.step.component == Component::Istiod) else { return Ok(None) };
    let Some(deployment) = istiod.of_kind("Deployment").next() else { return Ok(None) };
    let asked = resources::requested(&serde_json::to_value(deployment).unwrap_or_default());
    let nodes = list(cluster, "v1", "Node", None).await?;
    let pods = list(cluster, "v1", "Pod", None).await?;
    let problem = |message: String| Ok(Some(Finding::new(Severity::Error, "room", message)));
    if nodes.is_empty() {
        return problem("the cluster has no nodes: no pod becomes ready".to_owned());
    }
    let open: Vec<_> = nodes.iter().filter(|node| accepts_pods(node)).collect();
    if open.is_empty() {
        return problem("every node is cordoned or has a taint that istiod does not tolerate".to_owned());
    }
    let free: Vec<_> = open.iter().filter_map(|node| resources::free(node, &pods)).collect();
    if free.is_empty() || free.iter().any(|free| free.holds(&asked)) {
        return Ok(None);
    }
    problem(format!("no node has {asked} left, which istiod requests"))
}

fn accepts_pods(node: &Value) -> bool {
    let taints = node["spec"]["taints"].as_array().into_iter().flatten();
    // The chart of istiod tolerates this one.
    let repels = |taint: &Value| taint["effect"] != "PreferNoSchedule" && taint["key"] != "cni.istio.io/not-ready";
    node["spec"]["unschedulable"] != true && !taints.into_iter().any(repels)
}
