//! `mesh.precheck`: whether a mesh could be installed, without installing it. Reads and asks; writes nothing.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::facts::{self, list};
use super::precheck;
use crate::cluster::Cluster;
use crate::mesh::{self, Facts, Finding, Profile, Request, Severity, Version, room, usage};
use crate::task::{Error, Failure, Limits, Outcome, Task, TaskContext};

/// See the module.
pub struct Precheck;

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
    /// Nothing speaks against it.
    pub ready: bool,
    /// The API server's version.
    pub kubernetes: String,
    /// Whose cluster it is, such as `gke`, where it can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// What was found, the worst first.
    pub findings: Vec<Finding>,
}

impl Task for Precheck {
    const VERB: &'static str = "mesh.precheck";
    const SUMMARY: &'static str = "Tells whether a mesh could be installed, and what speaks against it.";
    type Params = PrecheckParams;
    type Report = PrecheckReport;

    fn limits(&self) -> Limits {
        Limits { deadline: Duration::from_mins(2), attempts: 3 }
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
        let mut findings = mesh::aside(&params.mesh, &facts, &plan);
        findings.extend(plan.findings);
        findings.extend(precheck::before(&cluster, &params.mesh, &facts).await?);
        let overlaps = usage::overlaps(&facts.webhooks);
        findings.extend(overlaps.into_iter().map(|text| Finding::new(Severity::Error, "webhooks", text)));
        findings.extend(hints(&params.mesh, &facts));
        findings.extend(space(&cluster, &params.mesh).await?);
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.rank()));
        let report = PrecheckReport {
            ready: findings.iter().all(|finding| finding.severity < Severity::Error),
            kubernetes: facts.kubernetes.text.clone(),
            platform: facts.platform.map(str::to_owned),
            findings,
        };
        Ok(Outcome::Unchanged(report))
    }
}

/// What is known of platforms, for the parts that run on nodes.
fn hints(request: &Request, facts: &Facts) -> Option<Finding> {
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

/// Whether some node has room for a control plane.
async fn space(cluster: &Cluster, request: &Request) -> Result<Option<Finding>, Error> {
    let nodes = list(cluster, "v1", "Node", None).await?;
    let pods = list(cluster, "v1", "Pod", None).await?;
    let asked = room::istiod(request);
    let free: Vec<_> = nodes.iter().filter_map(|node| room::free(node, &pods)).collect();
    if nodes.is_empty() {
        return Ok(Some(Finding::new(
            Severity::Warning,
            "room",
            "the cluster has no nodes: nothing will become ready",
        )));
    }
    if free.is_empty() || free.iter().any(|free| free.holds(&asked)) {
        return Ok(None);
    }
    let message = format!("no node has {asked} left for istiod");
    Ok(Some(Finding::new(Severity::Warning, "room", message)))
}
