//! Executes a plan: renders and checks everything before the first write, applies the parts in order and waits for each
//! one, then deletes the parts that the plan removes.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use kube::core::DynamicObject;

use super::common_params::CommonParams;
use super::prefixed_progress::PrefixedProgress;
use super::rendered_chart::{self, Part};
use super::report::{MeshReport, PartReport};
use super::{admission, facts, precheck, quota, rehearsal};
use crate::chart::Charts;
use crate::cluster::delete::{self, DeleteOptions};
use crate::cluster::{Cluster, Family, ObjectsReport};
use crate::mesh::{self, ComponentValues, Finding, Installed, ObservedMesh, Plan, Request, Severity, Webhook, usage};
use crate::task::{Error, TaskContext};

/// Charts rendered at once: each is a helm process with some 70 MiB.
const RENDERING: usize = 2;

/// A plan that is being executed.
pub(super) struct MeshRun<'a> {
    pub cx: &'a TaskContext,
    pub cluster: &'a Cluster,
    charts: &'a Charts,
    pub request: &'a Request,
    pub common: &'a CommonParams,
    pub report: MeshReport,
}

impl<'a> MeshRun<'a> {
    pub fn new(
        cx: &'a TaskContext,
        cluster: &'a Cluster,
        charts: &'a Charts,
        request: &'a Request,
        common: &'a CommonParams,
    ) -> Self {
        let mut report = MeshReport::new(request.revision_label().to_owned());
        report.version = Some(request.version.clone());
        report.dry_run = common.dry_run;
        Self { cx, cluster, charts, request, common, report }
    }

    /// A run for the same request with another guard or other waits, and a report of its own.
    pub fn fork<'b>(&'b self, cx: &'b TaskContext, common: &'b CommonParams) -> MeshRun<'b> {
        MeshRun::new(cx, self.cluster, self.charts, self.request, common)
    }

    /// Executes the whole plan. `prune_components` consents to the deletion of parts that the request no longer has.
    pub async fn run(&mut self, facts: &ObservedMesh, plan: Plan, prune_components: bool) -> Result<(), Error> {
        self.admit(plan.findings)?;
        self.refuse_removals(facts, &plan.removals, prune_components)?;
        let checking = precheck::before(self.cluster, self.request, facts);
        let (checked, parts) = tokio::join!(checking, self.render(facts, plan.steps));
        self.admit(checked?)?;
        let parts = parts?;
        self.admit(self.judge(facts, &parts).await?)?;
        if !self.common.dry_run {
            self.rehearse(&parts).await?;
        }
        self.apply(parts).await?;
        for installation in plan.removals {
            if let Some(part) = facts.installed.iter().find(|it| it.installation == installation) {
                self.remove(part).await?;
            }
        }
        Ok(())
    }

    /// Gateways and other parts are deleted only with consent: a smaller profile is easily given by mistake.
    fn refuse_removals(&mut self, facts: &ObservedMesh, removals: &[String], consent: bool) -> Result<(), Error> {
        if removals.is_empty() || consent {
            return Ok(());
        }
        let named = facts.installed.iter().filter(|it| removals.contains(&it.installation));
        let parts: Vec<_> = named.map(|it| it.origin.title()).collect();
        let message = format!("would delete {}: not in the requested profile and components", parts.join(", "));
        self.report.findings.push(Finding::new(Severity::Error, "components", message));
        Err(mesh::Error::Removes { parts }.into())
    }

    /// Findings about the rendered parts, before anything is written.
    pub async fn judge(&self, facts: &ObservedMesh, parts: &[Part]) -> Result<Vec<Finding>, Error> {
        let mut findings = Self::overlaps(facts, parts);
        findings.extend(self.unread(facts, parts));
        findings.extend(self.obstacles(parts).await?);
        Ok(findings)
    }

    /// Findings about the cluster that would make the installation fail: webhooks that cannot be called, and quotas.
    async fn obstacles(&self, parts: &[Part]) -> Result<Vec<Finding>, Error> {
        let dead = admission::dead(self.cluster).await?;
        let mut found = admission::blocking(self.cluster, &dead, parts).await?;
        let replaced = |name: &str| {
            let objects = parts.iter().flat_map(|part| &part.objects);
            objects.filter_map(|object| object.metadata.name.as_deref()).any(|it| it == name)
        };
        let staying: Vec<_> = dead.into_iter().filter(|it| !replaced(&it.webhook.name)).collect();
        found.extend(admission::findings(&staying, Severity::Warning));
        found.extend(quota::check(self.cluster, parts).await?);
        Ok(found)
    }

    /// Ends the work with the objects that would fail, before anything is written.
    async fn rehearse(&mut self, parts: &[Part]) -> Result<(), Error> {
        let tried = rehearsal::rehearse(self.cx, self.cluster, self.request, self.common.adopt, parts).await?;
        let Some(failures) = tried else { return Ok(()) };
        self.report.parts.extend(failures.parts);
        let message = "nothing was written: the API server would refuse the named objects";
        self.report.findings.push(Finding::new(Severity::Info, "objects", message));
        Err(failures.error)
    }

    /// Keeps findings for the report, and ends the work where one of them refuses it.
    pub fn admit(&mut self, findings: Vec<Finding>) -> Result<(), Error> {
        let adopted = |it: Finding| match it.check.as_str() {
            "owner" if self.common.adopt => {
                let message = format!(
                    "{}: taken over; removing it with that tool from now on would remove what is this worker's",
                    it.message
                );
                Finding::new(Severity::Warning, "owner", message)
            }
            _ => it,
        };
        let findings: Vec<_> = findings.into_iter().map(adopted).collect();
        let refused = findings.iter().any(|it| it.refuses(self.common.force));
        self.report.findings.extend(findings.iter().cloned());
        if refused { Err(mesh::Error::Refused { findings }.into()) } else { Ok(()) }
    }

    /// Renders all steps, some at a time.
    pub async fn render(&self, facts: &ObservedMesh, steps: Vec<mesh::PlannedChart>) -> Result<Vec<Part>, Error> {
        let total = steps.len();
        let bundle = self.request.gateway_api.as_deref();
        let rendering = steps.into_iter().enumerate().map(|(index, step)| async move {
            self.cx.step("plan", index, total, format!("rendering {} {}", step.component.as_str(), step.version));
            rendered_chart::render(self.charts, step, &facts.kubernetes, bundle).await
        });
        stream::iter(rendering.collect::<Vec<_>>()).buffered(RENDERING).try_collect().await
    }

    /// Injectors that would take the same pods once the parts are applied.
    fn overlaps(facts: &ObservedMesh, parts: &[Part]) -> Vec<Finding> {
        let coming: Vec<Webhook> = parts
            .iter()
            .flat_map(|part| part.of_kind("MutatingWebhookConfiguration"))
            .filter_map(|object| facts::webhook(&serde_json::to_value(object).ok()?))
            .collect();
        let staying = facts.webhooks.iter().filter(|there| coming.iter().all(|it| it.name != there.name));
        let all: Vec<_> = coming.iter().chain(staying).cloned().collect();
        let new = |text: &&String| coming.iter().any(|it| text.contains(it.name.as_str()));
        let found = usage::overlaps(&all);
        found.iter().filter(new).map(|text| Finding::new(Severity::Error, "webhooks", text)).collect()
    }

    /// Values that no chart reads. Of those that go to all charts nothing is said when a stage leaves some out.
    fn unread(&self, facts: &ObservedMesh, parts: &[Part]) -> Vec<Finding> {
        // Most give none, and need no look at the charts.
        if self.request.values.is_empty() && self.request.component_values == ComponentValues::default() {
            return Vec::new();
        }
        let whole = mesh::plan(self.request, facts).steps;
        let whole = whole.iter().all(|step| parts.iter().any(|part| part.step.component == step.component));
        let charts: Vec<_> =
            parts.iter().filter_map(|part| Some((part.step.component, part.chart.as_ref()?.keys()))).collect();
        mesh::unused_values(self.request, &charts, whole)
    }

    /// Applies parts in order; the first that fails ends it.
    pub async fn apply(&mut self, parts: Vec<Part>) -> Result<(), Error> {
        let total = parts.len();
        for (index, part) in parts.into_iter().enumerate() {
            let label = format!("{} ({} of {total})", part.title(), index + 1);
            self.cx.step("apply", index, total, label.clone());
            match part.apply(self.cx, self.cluster, self.request, self.common, &label).await {
                Ok(done) => self.report.parts.push(done),
                Err((error, done)) => {
                    self.report.parts.push(done);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Deletes a part that this worker has installed.
    pub async fn remove(&mut self, part: &Installed) -> Result<(), Error> {
        let (cx, cluster) = (self.cx, self.cluster);
        remove(cx, cluster, self.common.dry_run, self.common.wait, part, &mut self.report).await
    }
}

/// Deletes the objects of one inventory and reports them.
pub(super) async fn remove(
    cx: &TaskContext,
    cluster: &Cluster,
    dry_run: bool,
    wait: Duration,
    part: &Installed,
    report: &mut MeshReport,
) -> Result<(), Error> {
    let origin = &part.origin;
    let line = PartReport {
        component: origin.component,
        name: origin.name.clone(),
        installation: part.installation.clone(),
        version: origin.component.chart().map(|_| origin.version.clone()),
        ready: false,
        objects: Vec::new(),
        omitted: 0,
    };
    let title = format!("{} {}", origin.component.as_str(), origin.name);
    let options = DeleteOptions {
        family: Family::Mesh,
        dry_run,
        wait: (!wait.is_zero()).then_some(wait),
        generation: cx.generation,
        ..DeleteOptions::default()
    };
    delete_as(cx, cluster, &title, line, None, &options, report).await
}

/// Deletes an inventory, or these objects, as the component of `line`.
pub(super) async fn delete_as(
    cx: &TaskContext,
    cluster: &Cluster,
    title: &str,
    mut line: PartReport,
    objects: Option<Vec<DynamicObject>>,
    options: &DeleteOptions,
    report: &mut MeshReport,
) -> Result<(), Error> {
    let progress = PrefixedProgress::new(&cx.progress, title.trim_end());
    let done = delete::delete(cluster, &line.installation, objects, options, &cx.guard, &progress).await;
    let ended = match done {
        Ok(done) => {
            line.take(done);
            Ok(())
        }
        Err(failure) => {
            let (error, done) = *failure;
            line.take(done.unwrap_or_else(ObjectsReport::default));
            Err(error.into())
        }
    };
    report.parts.push(line);
    ended
}
