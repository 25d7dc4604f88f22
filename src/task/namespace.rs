//! `namespace.label`: puts a namespace into a mesh or takes it out, and restarts its workloads so that it takes
//! effect. What is to be written is planned in `labels`; this file reads, writes and tries again.

mod labels;
mod params;
mod restart;

use k8s_openapi::api::core::v1::Namespace as Live;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::names::{self, Namespace};
use super::{Error, Failure, Outcome, Task, TaskContext};
use crate::cluster::{self, ApiError, Cluster, ObjectRef};
use labels::{LabelRequest, MANAGER, RESTART};

pub use params::{LabelParams, LabelReport, Mode};
pub use restart::Restart;

/// Write conflicts before the attempt fails and the engine retries it later.
const ROUNDS: u32 = 5;

/// `namespace.label`.
pub struct Label;

impl Task for Label {
    const VERB: &'static str = "namespace.label";
    const SUMMARY: &'static str = "Sets sidecar injection, revision or ambient mode of a namespace.";
    type Params = LabelParams;
    type Report = LabelReport;

    fn installation(&self, params: &LabelParams) -> Option<String> {
        Some(names::installation("namespace", &params.namespace))
    }

    fn example(&self) -> LabelParams {
        LabelParams { create: true, restart: true, ..LabelParams::of(Namespace::known("shop"), Mode::Enabled) }
    }

    fn check(&self, params: &LabelParams) -> Result<(), Error> {
        params.check()
    }

    async fn run(&self, cx: &TaskContext, params: LabelParams) -> Result<Outcome<LabelReport>, Failure<LabelReport>> {
        params.check()?;
        let cluster = cx.cluster().await?;
        let mut work = Work { cx, cluster: &cluster, report: LabelReport::of(&params), wrote: false, params: &params };
        let done = work.run().await;
        let outcome = Outcome::new(work.wrote, work.report);
        match done {
            Ok(()) => Ok(outcome),
            Err(error) => Err(Failure { error, report: work.wrote.then_some(outcome) }),
        }
    }
}

struct Work<'a> {
    cx: &'a TaskContext,
    cluster: &'a Cluster,
    params: &'a LabelParams,
    report: LabelReport,
    wrote: bool,
}

impl Work<'_> {
    /// A restart that is due is written down with the labels, in one write, and crossed out when all workloads are
    /// restarted: a run after a crash in between finds it, although the labels are right by then.
    async fn run(&mut self) -> Result<(), Error> {
        self.cluster.check_write(&self.object())?;
        let Some(due) = self.switch().await? else { return Ok(()) };
        let restarted = restart::restart(self.cx, self.cluster, self.params, &due, &mut self.report.restarted).await;
        self.wrote |= !self.params.dry_run && self.report.restarted.iter().any(|one| one.skipped.is_none());
        restarted?;
        if self.params.dry_run { Ok(()) } else { self.cross_out(&due).await }
    }

    /// Brings the labels about; answers the restart that is due.
    async fn switch(&mut self) -> Result<Option<String>, Error> {
        let now = restart::token(&self.cx.clock);
        for round in 1.. {
            let live = self.read().await?;
            if live.is_none() && !self.params.create {
                let message = format!("namespaces {:?} not found", self.params.namespace.as_str());
                return Err(self.failed(ApiError::Namespace { message, terminating: false }));
            }
            let request = LabelRequest {
                mode: &self.params.mode,
                revision: self.params.revision.as_deref(),
                restart: self.params.restart.then_some(now.as_str()),
                generation: self.cx.generation,
                fence: self.cx.guard.fence(),
            };
            let plan = labels::plan(live.as_ref().unwrap_or(&Value::Null), request);
            if !plan.conflicts.is_empty() && !self.params.force {
                return Err(self.failed(ApiError::FieldConflict(plan.conflicts)));
            }
            self.report.created = live.is_none();
            self.report.before = plan.before;
            self.report.after = plan.after;
            let Some(metadata) = plan.metadata.filter(|_| !self.params.dry_run) else { return Ok(plan.due) };
            if self.write(live.is_none(), metadata, round).await? {
                self.cx.step("apply", 1, 1, format!("Namespace {}: {}", self.params.namespace, self.params.mode));
                return Ok(plan.due);
            }
        }
        Ok(None)
    }

    /// Takes the note of a finished restart off, unless it is another one's by now.
    async fn cross_out(&mut self, due: &str) -> Result<(), Error> {
        for round in 1.. {
            let Some(live) = self.read().await? else { return Ok(()) };
            if live["metadata"]["annotations"][RESTART] != due {
                return Ok(());
            }
            let version = &live["metadata"]["resourceVersion"];
            let metadata = json!({"resourceVersion": version, "annotations": {RESTART: null}});
            if self.write(false, metadata, round).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The namespace, if no newer work has touched it.
    async fn read(&self) -> Result<Option<Value>, Error> {
        let live = self.cluster.get(&self.object()).await?;
        let Some(live) = live else { return Ok(None) };
        let installation = || names::installation("namespace", &self.params.namespace);
        let own = self.cx.guard.fence();
        match labels::stored(&live, labels::FENCE) {
            Some(stored) if stored > own => {
                let stored = Some(stored);
                return Err(cluster::Error::Fenced { installation: installation(), stored, own }.into());
            }
            _ => {}
        }
        match (labels::stored(&live, labels::GENERATION), self.cx.generation) {
            (Some(stored), Some(own)) if stored > own => {
                Err(cluster::Error::Superseded { installation: installation(), stored, own }.into())
            }
            _ => Ok(Some(live)),
        }
    }

    /// False when the namespace has changed since it was read and a round is left. A merge patch and not a
    /// server-side apply, because that cannot remove a label that another manager has set; the resource version in
    /// it makes it a compare-and-swap.
    async fn write(&mut self, create: bool, metadata: Value, round: u32) -> Result<bool, Error> {
        let _writing = self.cx.guard.writing().await?;
        let name = self.params.namespace.as_str();
        let answer = if create {
            let mut metadata = metadata;
            metadata["name"] = name.into();
            let namespace: Live = serde_json::from_value(json!({ "metadata": metadata }))
                .map_err(|error| self.failed(ApiError::Unreadable(error.to_string())))?;
            let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
            self.cluster
                .call("create", &self.object(), |client| {
                    let (namespace, params) = (&namespace, &params);
                    async move { Api::all(client).create(params, namespace).await }
                })
                .await
        } else {
            let patch = Patch::Merge(json!({ "metadata": metadata }));
            let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
            self.cluster
                .call("label", &self.object(), |client| {
                    let (patch, params) = (&patch, &params);
                    async move { Api::<Live>::all(client).patch(name, params, patch).await }
                })
                .await
        };
        match answer {
            Ok(_) => {
                self.wrote = true;
                Ok(true)
            }
            Err(cluster::Error::Request { fault: ApiError::Conflict(_), .. }) if round < ROUNDS => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn object(&self) -> ObjectRef {
        ObjectRef::new("v1", "Namespace", None, self.params.namespace.as_str())
    }

    fn failed(&self, fault: ApiError) -> Error {
        cluster::Error::Request { verb: "label", object: self.object().to_string(), fault }.into()
    }
}
