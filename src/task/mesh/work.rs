//! Carries out a plan: everything is rendered and checked before anything is written, then part after part is applied
//! and waited for, then what is no longer wanted goes.

use super::conduct::Conduct;
use super::labelled::Labelled;
use super::part::{self, Part};
use super::report::{MeshReport, PartReport};
use super::{facts, precheck};
use crate::chart::Charts;
use crate::cluster::delete::{self, DeleteOptions};
use crate::cluster::{Cluster, ObjectsReport};
use crate::mesh::{self, Facts, Finding, Plan, Request, Severity, Webhook, usage};
use crate::task::{Error, Failure, MAX_REPORT, Outcome, TaskContext};

/// One plan under way.
pub(super) struct Work<'a> {
    pub cx: &'a TaskContext,
    pub cluster: &'a Cluster,
    charts: &'a Charts,
    request: &'a Request,
    conduct: &'a Conduct,
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
        let report = MeshReport {
            version: request.version.clone(),
            revision: request.revision_label().to_owned(),
            namespace: request.namespace.clone(),
            parts: Vec::new(),
            findings: Vec::new(),
            dry_run: conduct.dry_run,
        };
        Self { cx, cluster, charts, request, conduct, report }
    }

    /// All of it.
    pub async fn run(&mut self, facts: &Facts, plan: Plan) -> Result<(), Error> {
        self.admit(plan.findings)?;
        let checked = precheck::before(self.cluster, self.request, facts).await?;
        self.admit(checked)?;
        let parts = self.render(facts, plan.steps).await?;
        self.admit(Self::overlaps(facts, &parts))?;
        self.apply(parts).await?;
        for installation in plan.removals {
            self.remove(facts, &installation).await?;
        }
        Ok(())
    }

    /// Keeps findings for the report, and ends the work where one of them refuses it.
    pub fn admit(&mut self, findings: Vec<Finding>) -> Result<(), Error> {
        let least = if self.conduct.force { Severity::Fatal } else { Severity::Error };
        let adopted = |it: &Finding| self.conduct.adopt && it.check == "owner";
        let refused = findings.iter().any(|it| it.severity >= least && !adopted(it));
        self.report.findings.extend(findings.iter().cloned());
        if refused { Err(mesh::Error::Refused { findings }.into()) } else { Ok(()) }
    }

    /// Renders all steps.
    pub async fn render(&self, facts: &Facts, steps: Vec<mesh::Step>) -> Result<Vec<Part>, Error> {
        let total = steps.len();
        let bundle = self.request.gateway_api.as_deref();
        let mut parts = Vec::with_capacity(total);
        for (index, step) in steps.into_iter().enumerate() {
            self.cx.step("plan", index, total, format!("rendering {} {}", step.component.as_str(), step.version));
            parts.push(part::render(self.charts, step, &facts.kubernetes, bundle).await?);
        }
        Ok(parts)
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
    pub async fn remove(&mut self, facts: &Facts, installation: &str) -> Result<(), Error> {
        let Some(there) = facts.installed.iter().find(|it| it.installation == installation) else { return Ok(()) };
        let options = DeleteOptions {
            dry_run: self.conduct.dry_run,
            wait: (!self.conduct.wait.is_zero()).then_some(self.conduct.wait),
            generation: self.cx.generation,
            ..DeleteOptions::default()
        };
        let title = there.origin.component.as_str();
        let progress = Labelled::new(&self.cx.progress, format!("{title} {}", there.origin.name));
        let mut report = PartReport {
            component: there.origin.component,
            name: there.origin.name.clone(),
            installation: installation.to_owned(),
            version: there.origin.component.chart().map(|_| there.origin.version.clone()),
            ready: false,
            objects: Vec::new(),
            omitted: 0,
        };
        let done = delete::delete(self.cluster, installation, None, &options, &self.cx.guard, &progress).await;
        let ended = match done {
            Ok(done) => {
                report.take(done);
                Ok(())
            }
            Err(failure) => {
                let (error, done) = *failure;
                report.take(done.unwrap_or_else(ObjectsReport::default));
                Err(error.into())
            }
        };
        self.report.parts.push(report);
        ended
    }

    /// The end of the task.
    pub fn end(self, done: Result<(), Error>) -> Result<Outcome<Box<MeshReport>>, Failure<Box<MeshReport>>> {
        let changed = !self.report.dry_run && self.report.parts.iter().any(PartReport::changed);
        let begun = !self.report.parts.is_empty() || !self.report.findings.is_empty();
        let report = Box::new(self.report.fit(MAX_REPORT));
        let outcome = if changed { Outcome::Changed(report) } else { Outcome::Unchanged(report) };
        match done {
            Ok(()) => Ok(outcome),
            Err(error) => Err(Failure { error, report: begun.then_some(outcome) }),
        }
    }
}
