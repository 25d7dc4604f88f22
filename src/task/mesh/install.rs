//! `mesh.install`: installs Istio, or changes an installation to match the command. A second run writes nothing.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common_params::CommonParams;
use super::mesh_run::MeshRun;
use super::report::MeshReport;
use super::{LEASE, facts};
use crate::chart::Charts;
use crate::cluster::ObjectReport;
use crate::mesh::{self, Profile, Request, Version};
use crate::task::{Failure, Limits, Outcome, Task, TaskContext};

/// The verb `mesh.install`.
pub struct Install {
    charts: Arc<Charts>,
}

impl Install {
    /// Installs from these charts.
    #[must_use]
    pub fn new(charts: &Arc<Charts>) -> Self {
        Self { charts: Arc::clone(charts) }
    }
}

/// Parameters of `mesh.install`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstallParams {
    /// The mesh.
    #[serde(flatten)]
    pub mesh: Request,
    /// Delete gateways, the CNI plugin and ztunnel that this revision has and the command does not contain. Without
    /// consent such a command is refused.
    #[serde(default)]
    pub prune_components: bool,
    /// How to go about it.
    #[serde(flatten)]
    pub common: CommonParams,
}

impl Task for Install {
    const VERB: &'static str = "mesh.install";
    const SUMMARY: &'static str = "Installs or updates Istio, component by component; idempotent.";
    type Params = InstallParams;
    type Report = Box<MeshReport>;

    fn objects(report: &Self::Report) -> Vec<&ObjectReport> {
        report.parts.iter().flat_map(|part| &part.objects).collect()
    }

    fn limits(&self) -> Limits {
        Limits { deadline: Duration::from_mins(30), ..Limits::default() }
    }

    fn installation(&self, _: &InstallParams) -> Option<String> {
        Some(LEASE.to_owned())
    }

    fn example(&self) -> InstallParams {
        let version = Version::example();
        InstallParams {
            mesh: Request { profile: Profile::Minimal, ..Request::of(version) },
            prune_components: false,
            common: CommonParams::default(),
        }
    }

    async fn run(
        &self,
        cx: &TaskContext,
        params: InstallParams,
    ) -> Result<Outcome<Box<MeshReport>>, Failure<Box<MeshReport>>> {
        let cluster = cx.cluster().await?;
        cx.step("plan", 0, 0, "reading the state of the cluster");
        let facts = facts::read(&cluster).await?;
        let mut plan = mesh::plan(&params.mesh, &facts);
        plan.findings.extend(mesh::side_effects(&params.mesh, &facts, &plan));
        let mut work = MeshRun::new(cx, &cluster, &self.charts, &params.mesh, &params.common);
        let done = work.run(&facts, plan, params.prune_components).await;
        work.report.end(done)
    }
}
