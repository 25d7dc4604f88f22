//! The stages of an upgrade by revision. Back is the same way with old and new exchanged.

use super::UpgradeParams;
use super::gated;
use super::preview;
use super::restart;
use super::stage::Stage;
use crate::mesh::{self, Component, ObservedMesh, PlannedChart, Provenance, Request, skew, usage};
use crate::task::mesh::facts::{self, list};
use crate::task::mesh::leftovers;
use crate::task::mesh::mesh_run::MeshRun;
use crate::task::names::Namespace;
use crate::task::namespace::{Label, LabelParams, Mode};
use crate::task::{Error, Task};

/// One upgrade by revision.
pub(super) struct Canary<'a> {
    pub params: &'a UpgradeParams,
    pub request: &'a Request,
    facts: ObservedMesh,
    new: String,
}

impl<'a> Canary<'a> {
    pub fn new(params: &'a UpgradeParams, request: &'a Request, facts: ObservedMesh) -> Self {
        Self { params, request, facts, new: params.to() }
    }

    pub async fn run(mut self, work: &mut MeshRun<'_>) -> Result<(), Error> {
        let until = self.params.until.unwrap_or(Stage::Remove);
        if !self.params.rollback {
            self.control_plane(work).await?;
        }
        let (from, to) = if self.params.rollback {
            (self.new.clone(), self.params.from.clone())
        } else {
            (self.params.from.clone(), self.new.clone())
        };
        if self.params.common.dry_run {
            if self.params.rollback && self.facts.istiod(&to).is_none() {
                return Err(mesh::Error::not_installed(&to, &self.facts).into());
            }
            let tags = self.tags(&from).map(|tag| tag.name.clone()).collect();
            return preview::by_revision(work, &self.facts, (&from, &to), tags, until, self.params.batch).await;
        }
        self.facts = facts::read(work.cluster).await?;
        let (target, request) = self.target(&to)?;
        if let Some(gate) = &self.params.gate {
            Box::pin(gated::restart(&self, work, gate, (&from, &to))).await?;
        } else {
            if until >= Stage::Move {
                self.shift(work, &request, &from).await?;
            }
            if until >= Stage::Restart {
                self.gateways(work, &request, &from).await?;
                restart::workloads(work, &to, None, self.params.batch).await?;
            }
        }
        if until >= Stage::Verify {
            restart::verify(work, &to, None).await?;
        }
        if until >= Stage::Remove {
            self.remove(work, &request, &target, &from).await?;
        }
        Ok(())
    }

    /// The installed control plane of a revision, and the request for its parts.
    pub fn target(&self, revision: &str) -> Result<(Provenance, Request), Error> {
        let Some(target) = self.facts.istiod(revision).cloned() else {
            return Err(mesh::Error::not_installed(revision, &self.facts).into());
        };
        let mut request = target.request.as_deref().cloned().unwrap_or_else(|| self.request.clone());
        request.revision = Some(revision.to_owned());
        Ok((target, request))
    }

    /// Base and the new control plane. The parts of nodes and gateways follow when the workloads have.
    async fn control_plane(&self, work: &mut MeshRun<'_>) -> Result<(), Error> {
        if let Some(old) = self.facts.istiod(&self.params.from) {
            work.admit(skew::check_step(&old.version, &self.request.version, skew::Way::Canary))?;
        }
        let request = Request { tags: Vec::new(), ..self.request.clone() };
        let mut plan = mesh::plan(&request, &self.facts);
        plan.steps.retain(|step| !matches!(step.component, Component::Cni | Component::Ztunnel | Component::Gateway));
        plan.removals.clear();
        work.run(&self.facts, plan, false).await
    }

    /// Tags and namespaces of the old revision.
    pub async fn shift(&self, work: &mut MeshRun<'_>, request: &Request, from: &str) -> Result<(), Error> {
        let moving: Vec<_> = self.tags(from).map(|tag| tag.name.clone()).collect();
        let tagged = Request { tags: moving, ..request.clone() };
        let mut plan = mesh::plan(&tagged, &self.facts);
        plan.steps.retain(|step| step.component == Component::Tag);
        let parts = work.render(&self.facts, plan.steps).await?;
        work.apply(parts).await?;
        for space in list(work.cluster, "v1", "Namespace", None).await? {
            let labels = usage::labels(&space);
            // A namespace that selects a tag has moved with it.
            if usage::namespace_revision(&labels) != Some(from) {
                continue;
            }
            let name = space["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let Ok(name) = Namespace::try_from(name) else { continue };
            let revision = request.revision_label().to_owned();
            let mode = if revision == "default" { Mode::Enabled } else { Mode::Revision };
            let params = LabelParams {
                revision: (mode == Mode::Revision).then_some(revision),
                force: true,
                ..LabelParams::of(name.clone(), mode)
            };
            let labeling = Label.run(work.cx, params).await.map_err(|failure| failure.error)?;
            let (changed, _) = labeling.into_parts();
            work.report.moved(changed, format!("namespace {name}"));
        }
        Ok(())
    }

    /// Tags that this worker has made for a revision.
    fn tags(&self, revision: &str) -> impl Iterator<Item = &Provenance> {
        let chart = if revision == "default" { "" } else { revision }.to_owned();
        self.facts.installed(Component::Tag).filter(move |tag| tag.revision == chart)
    }

    /// The gateways, with proxies of the new revision.
    pub async fn gateways(&self, work: &mut MeshRun<'_>, request: &Request, from: &str) -> Result<(), Error> {
        let chart = if from == "default" { "" } else { from };
        let held = |step: &PlannedChart| {
            let mut gateways = self.facts.installed(Component::Gateway);
            gateways.any(|it| it.name == step.name && (it.revision == chart || it.revision == request.revision()))
        };
        let mut plan = mesh::plan(request, &self.facts);
        plan.steps.retain(|step| step.component == Component::Gateway && held(step));
        let parts = work.render(&self.facts, plan.steps).await?;
        work.apply(parts).await
    }

    /// Removes the old revision if no workload uses it. The default validator is moved to the new revision before.
    async fn remove(
        &self,
        work: &mut MeshRun<'_>,
        request: &Request,
        target: &Provenance,
        from: &str,
    ) -> Result<(), Error> {
        let going = std::collections::BTreeSet::from([from]);
        let users = leftovers::users(work.cluster, &going, &going, &facts::read(work.cluster).await?).await?;
        if !users.is_empty() && !self.params.common.force {
            return Err(mesh::Error::InUse { what: format!("revision {from}"), users }.into());
        }
        // Without the old one in sight, base takes the new one as the default revision.
        let mut alone = self.facts.clone();
        alone.installed.retain(|it| it.origin.component != Component::Istiod || it.origin.name == target.name);
        let mut plan = mesh::plan(request, &alone);
        plan.steps.retain(|step| matches!(step.component, Component::Base | Component::Cni | Component::Ztunnel));
        if self.params.rollback {
            self.keep_crds(&mut plan.steps);
        }
        let parts = work.render(&self.facts, plan.steps).await?;
        work.apply(parts).await?;
        let old =
            self.facts.installed.iter().find(|it| it.origin.component == Component::Istiod && it.origin.name == from);
        match old {
            Some(old) => work.remove(old).await,
            None => Ok(()),
        }
    }

    /// CRDs do not go back: base keeps its version, whatever revision is the default one.
    fn keep_crds(&self, steps: &mut [PlannedChart]) {
        let Some(base) = self.facts.installed(Component::Base).next() else { return };
        for step in steps.iter_mut().filter(|step| step.component == Component::Base && step.version < base.version) {
            let default = step.values["defaultRevision"].clone();
            step.version = base.version.clone();
            step.values = base.values.clone();
            step.values["defaultRevision"] = default;
        }
    }
}
