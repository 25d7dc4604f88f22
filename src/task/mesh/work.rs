//! Carries out a plan: everything is rendered and checked before anything is written, then part after part is applied
//! and waited for, then what is no longer wanted goes.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use kube::core::DynamicObject;

use super::conduct::Conduct;
use super::labelled::Labelled;
use super::part::{self, Part};
use super::report::{MeshReport, PartReport};
use super::{facts, precheck};
use crate::chart::Charts;
use crate::cluster::delete::{self, DeleteOptions};
use crate::cluster::{Cluster, Family, ObjectsReport};
use crate::mesh::{self, ComponentValues, Facts, Finding, Installed, Plan, Request, Severity, Webhook, usage};
use crate::task::{Error, TaskContext};

/// Charts rendered at once: each is a helm process with some 70 MiB.
const RENDERING: usize = 2;

/// One plan under way.
pub(super) struct Work<'a> {
    pub cx: &'a TaskContext,
    pub cluster: &'a Cluster,
    charts: &'a Charts,
    pub request: &'a Request,
    pub conduct: &'a Conduct,
    pub report: MeshReport,
}

impl<'a> Work<'a> {
    pub fn new(
        cx: &'a TaskContext,
        cluster: &'a Cluster,
        charts: &'a Charts,
        request: &'a Request,
        conduct: &'a Conduct,
    ) -> Self {
        let mut report = MeshReport::new(request.revision_label().to_owned());
        report.version = Some(request.version.clone());
        report.dry_run = conduct.dry_run;
        Self { cx, cluster, charts, request, conduct, report }
    }

    /// All of it.
    pub async fn run(&mut self, facts: &Facts, plan: Plan) -> Result<(), Error> {
        self.admit(plan.findings)?;
        let checking = precheck::before(self.cluster, self.request, facts);
        let (checked, parts) = tokio::join!(checking, self.render(facts, plan.steps));
        self.admit(checked?)?;
        let parts = parts?;
        self.admit(Self::overlaps(facts, &parts))?;
        self.admit(self.unread(facts, &parts))?;
        self.apply(parts).await?;
        for installation in plan.removals {
            if let Some(part) = facts.installed.iter().find(|it| it.installation == installation) {
                self.remove(part).await?;
            }
        }
        Ok(())
    }

    /// Keeps findings for the report, and ends the work where one of them refuses it.
    pub fn admit(&mut self, findings: Vec<Finding>) -> Result<(), Error> {
        let adopted = |it: Finding| match it.check.as_str() {
            "owner" if self.conduct.adopt => {
                let message = format!(
                    "{}: taken over; removing it with that tool from now on would remove what is this worker's",
                    it.message
                );
                Finding::new(Severity::Warning, "owner", message)
            }
            _ => it,
        };
        let findings: Vec<_> = findings.into_iter().map(adopted).collect();
        let refused = findings.iter().any(|it| it.refuses(self.conduct.force));
        self.report.findings.extend(findings.iter().cloned());
        if refused { Err(mesh::Error::Refused { findings }.into()) } else { Ok(()) }
    }

    /// Renders all steps, some at a time.
    pub async fn render(&self, facts: &Facts, steps: Vec<mesh::Step>) -> Result<Vec<Part>, Error> {
        let total = steps.len();
        let bundle = self.request.gateway_api.as_deref();
        let rendering = steps.into_iter().enumerate().map(|(index, step)| async move {
            self.cx.step("plan", index, total, format!("rendering {} {}", step.component.as_str(), step.version));
            part::render(self.charts, step, &facts.kubernetes, bundle).await
        });
        stream::iter(rendering.collect::<Vec<_>>()).buffered(RENDERING).try_collect().await
    }

    /// Injectors that would take the same pods once the parts are applied.
    fn overlaps(facts: &Facts, parts: &[Part]) -> Vec<Finding> {
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
    fn unread(&self, facts: &Facts, parts: &[Part]) -> Vec<Finding> {
        // Most give none, and need no look at the charts.
        if self.request.values.is_empty() && self.request.component_values == ComponentValues::default() {
            return Vec::new();
        }
        let whole = mesh::plan(self.request, facts).steps;
        let whole = whole.iter().all(|step| parts.iter().any(|part| part.step.component == step.component));
        let charts: Vec<_> =
            parts.iter().filter_map(|part| Some((part.step.component, part.chart.as_ref()?.keys()))).collect();
        mesh::unread(self.request, &charts, whole)
    }

    /// Applies parts in order; the first that fails ends it.
    pub async fn apply(&mut self, parts: Vec<Part>) -> Result<(), Error> {
        let total = parts.len();
        for (index, part) in parts.into_iter().enumerate() {
            self.cx.step("apply", index, total, format!("{}, part {} of {total}", part.title(), index + 1));
            match part.apply(self.cx, self.cluster, self.request, self.conduct).await {
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
        remove(cx, cluster, self.conduct.dry_run, self.conduct.wait, part, &mut self.report).await
    }
}

/// Deletes one inventory's objects and tells of it.
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

/// Deletes an inventory, or these objects, as the part that `line` tells of.
pub(super) async fn delete_as(
    cx: &TaskContext,
    cluster: &Cluster,
    title: &str,
    mut line: PartReport,
    objects: Option<Vec<DynamicObject>>,
    options: &DeleteOptions,
    report: &mut MeshReport,
) -> Result<(), Error> {
    let progress = Labelled::new(&cx.progress, title.trim_end());
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
