//! `mesh.upgrade`: another version, in place or by a revision beside the old one, in stages that can be stopped at,
//! continued and rolled back. Completed stages are recognized in the cluster; no state is stored.

mod canary;
mod gate;
mod gated;
mod preview;
mod restart;
mod stage;

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::common_params::CommonParams;
use super::mesh_run::MeshRun;
use super::report::MeshReport;
use super::{LEASE, facts};
use crate::chart::Charts;
use crate::cluster::ObjectReport;
use crate::mesh::{self, ObservedMesh, Request, Version};
use crate::task::{Error, Failure, Limits, Outcome, Task, TaskContext};
use canary::Canary;

pub use gate::{UpgradeGate, UpgradeGateReport, UpgradeObservation};
pub use stage::{Stage, Strategy};

/// The verb `mesh.upgrade`.
pub struct Upgrade {
    charts: Arc<Charts>,
}

impl Upgrade {
    /// Installs from these charts.
    #[must_use]
    pub fn new(charts: &Arc<Charts>) -> Self {
        Self { charts: Arc::clone(charts) }
    }
}

/// Parameters of `mesh.upgrade`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpgradeParams {
    /// The version to go to.
    pub version: Version,
    /// In place, or by a revision beside the old one.
    #[serde(default)]
    pub strategy: Strategy,
    /// The revision to upgrade, as `mesh.install` has made it; `default` is the default one.
    #[serde(default = "default_revision")]
    #[schemars(length(min = 1, max = 40), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub from: String,
    /// Name of the new revision; the version with dashes, such as `1-30-3`, when absent. Only by revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub to: Option<String>,
    /// Values over those of the installation, as in `mesh.install`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub values: Map<String, Value>,
    /// The last stage to do; the next command continues from there. All when absent, but workloads are restarted in place
    /// only when this says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Stage>,
    /// Go back: tags, namespaces, gateways and workloads to the old revision, then remove the new one. Only by revision.
    #[serde(default)]
    pub rollback: bool,
    /// Workloads that are restarted at once. Each batch is ready, and every disruption budget allows a disruption,
    /// before the next.
    #[serde(default = "five")]
    #[schemars(range(min = 1, max = 100))]
    pub batch: usize,
    /// Restarts the next batch only while metrics of the restarted workloads are healthy; otherwise everything goes back to
    /// the old revision. Only by revision, and with a wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<UpgradeGate>,
    /// How to go about it.
    #[serde(flatten)]
    pub common: CommonParams,
}

fn default_revision() -> String {
    "default".to_owned()
}

const fn five() -> usize {
    5
}

impl Task for Upgrade {
    const VERB: &'static str = "mesh.upgrade";
    const SUMMARY: &'static str =
        "Upgrades Istio in place or with a second revision (canary), in stages; supports stop and rollback.";
    type Params = UpgradeParams;
    type Report = Box<MeshReport>;

    fn objects(report: &Self::Report) -> Vec<&ObjectReport> {
        report.parts.iter().flat_map(|part| &part.objects).collect()
    }

    fn limits(&self) -> Limits {
        Limits { deadline: Duration::from_hours(2), ..Limits::default() }
    }

    fn limits_for(&self, params: &UpgradeParams) -> Limits {
        match params.gate {
            // The windows, and what restarts take.
            Some(_) => Limits { deadline: gate::LONGEST + Duration::from_hours(2), ..self.limits() },
            None => self.limits(),
        }
    }

    fn installation(&self, _: &UpgradeParams) -> Option<String> {
        Some(LEASE.to_owned())
    }

    fn check(&self, params: &UpgradeParams) -> Result<(), Error> {
        params.check()
    }

    fn example(&self) -> UpgradeParams {
        UpgradeParams {
            version: Version::example(),
            strategy: Strategy::Canary,
            from: default_revision(),
            to: None,
            values: Map::new(),
            until: Some(Stage::Verify),
            rollback: false,
            batch: five(),
            gate: None,
            common: CommonParams::default(),
        }
    }

    async fn run(
        &self,
        cx: &TaskContext,
        params: UpgradeParams,
    ) -> Result<Outcome<Box<MeshReport>>, Failure<Box<MeshReport>>> {
        params.check()?;
        let cluster = cx.cluster().await?;
        cx.step("plan", 0, 0, "reading the state of the cluster");
        let facts = facts::read(&cluster).await?;
        let request = params.request(&facts)?;
        let mut work = MeshRun::new(cx, &cluster, &self.charts, &request, &params.common);
        let done = match params.strategy {
            Strategy::InPlace => in_place(&mut work, &facts, &params).await,
            Strategy::Canary => Box::pin(Canary::new(&params, &request, facts).run(&mut work)).await,
        };
        work.report.end(done)
    }
}

impl UpgradeParams {
    fn check(&self) -> Result<(), Error> {
        let wrong = |field, reason: &str| Err(Error::Parameter { field, reason: reason.to_owned() });
        match self.strategy {
            Strategy::InPlace if self.to.is_some() => wrong("to", "strategy in-place keeps the name of the revision"),
            Strategy::InPlace if self.rollback => {
                wrong("rollback", "rollback needs strategy canary; in place, upgrade to the old version")
            }
            Strategy::Canary if self.to() == self.from => {
                wrong("to", "is the revision that is replaced: choose another name")
            }
            _ => self.gate.as_ref().map_or(Ok(()), |gate| gate.check(self)),
        }
    }

    /// The new revision.
    fn to(&self) -> String {
        self.to.clone().unwrap_or_else(|| self.version.dashed())
    }

    /// The desired mesh: the installed one in another version.
    fn request(&self, facts: &ObservedMesh) -> Result<Request, Error> {
        let installed = |revision: &str| facts.istiod(revision).and_then(|origin| origin.request.clone());
        let new = (self.strategy == Strategy::Canary).then(|| self.to());
        let recorded = installed(&self.from).or_else(|| new.as_deref().and_then(installed));
        let Some(recorded) = recorded else {
            return Err(mesh::Error::not_installed(&self.from, facts).into());
        };
        let mut request = Request { version: self.version.clone(), ..*recorded };
        mesh::merge(&mut request.values, &self.values);
        if let Some(new) = new {
            request.revision = Some(new);
        }
        Ok(request)
    }
}

async fn in_place(work: &mut MeshRun<'_>, facts: &ObservedMesh, params: &UpgradeParams) -> Result<(), Error> {
    let until = params.until.unwrap_or(Stage::ControlPlane);
    let plan = mesh::plan(work.request, facts);
    work.run(facts, plan, false).await?;
    if params.common.dry_run {
        return preview::in_place(work, until, params.batch).await;
    }
    let revision = work.request.revision_label();
    if until >= Stage::Restart {
        restart::workloads(work, revision, Some(&params.version), params.batch).await?;
    }
    if until >= Stage::Verify {
        restart::verify(work, revision, Some(&params.version)).await?;
    }
    Ok(())
}
