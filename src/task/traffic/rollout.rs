//! Executes a gated change: writes weights, waits for a window, queries the store, and continues or rolls back.

use std::time::Duration;

use super::gate::{GateReport, Plan, evidence};
use super::live::Found;
use super::objects;
use super::params::ApplyParams;
use super::spec::Spec;
use super::write::{SETTLE, Work};
use crate::error::{Class, Classify as _};
use crate::guard::Stop;
use crate::observe::gate::{Next, Progress, next, raised};
use crate::task::health_gate::push;
use crate::task::refusal::Refusal;
use crate::task::{Error, TaskContext};

/// Time for going back after a command was stopped: less than the engine waits for a task.
const BACK: Duration = Duration::from_secs(8);

/// One gated change.
pub struct Rollout<'a> {
    pub cx: &'a TaskContext,
    pub plan: &'a Plan,
    pub spec: &'a Spec,
    pub version: &'a str,
    pub params: &'a ApplyParams,
}

impl Rollout<'_> {
    /// Moves the weights to the requested ones, or back.
    ///
    /// # Errors
    /// [`Refusal::UnhealthyCanary`] after traffic went back; the reason to stop, after which it went back unless another attempt
    /// continues; failures of the cluster, after which another attempt continues.
    pub async fn run(&self, work: &mut Work<'_>, found: &Found) -> Result<(), Error> {
        let (mut progress, resumed) = self.plan.begin(found.routes.as_ref(), &self.cx.key);
        let target = self.plan.steps.target;
        work.report().gate = Some(GateReport {
            store: self.plan.store.address.clone(),
            canary: self.plan.gate.canary.clone(),
            baseline_percent: progress.baseline,
            target_percent: target,
            weight_percent: progress.weight,
            resumed,
            query: self.plan.query(),
            observations: Vec::new(),
        });
        if self.params.dry_run || (progress.weight >= target && !resumed) {
            // Weights that do not grow need no gate.
            return self.write(work, found, target, None).await;
        }
        if !resumed {
            // A store that cannot be asked is known before anything is written.
            self.plan.store.query("vector(1)", None).await?;
            progress.weight = raised(progress.weight, &self.plan.steps);
        }
        let Err(error) = self.climb(work, found, &mut progress).await else {
            return self.write(work, &self.written(), target, None).await;
        };
        match error.stop() {
            Some(Stop::Cancelled | Stop::Deadline) => work.restore_for(BACK),
            None if error.class() == Class::Terminal => {}
            Some(Stop::LostLease | Stop::Shutdown) | None => return Err(error),
        }
        self.go_back(work, progress.baseline, error).await
    }

    async fn climb(&self, work: &mut Work<'_>, found: &Found, progress: &mut Progress) -> Result<(), Error> {
        let written = self.written();
        let mut found = found;
        loop {
            let mark = Plan::mark(progress, &self.cx.key);
            self.write(work, found, progress.weight, Some(&mark)).await?;
            found = &written;
            self.wait(progress.weight).await?;
            let seen = self.plan.observe(progress.weight).await;
            self.cx.guard.check()?;
            let verdict = seen.verdict;
            if let Some(report) = &mut work.report().gate {
                push(&mut report.observations, seen);
            }
            match next(progress, verdict, &self.plan.steps) {
                Next::Done => return Ok(()),
                Next::Advance(_) | Next::Hold => {}
                Next::Back(reason) => {
                    let observations = work.report().gate.as_ref().map(|gate| &gate.observations[..]);
                    let evidence = evidence(reason, observations.unwrap_or_default());
                    return Err(Refusal::UnhealthyCanary { canary: self.plan.gate.canary.clone(), evidence }.into());
                }
            }
        }
    }

    /// Writes the weights before the change. What fails meanwhile is a warning: the cause of going back counts.
    async fn go_back(&self, work: &mut Work<'_>, baseline: u8, error: Error) -> Result<(), Error> {
        let canary = &self.plan.gate.canary;
        let warning = match self.write(work, &self.written(), baseline, None).await {
            Ok(()) => format!("subset {canary} has {baseline} % of the requests again"),
            Err(failure) => format!("subset {canary} could not be set back to {baseline} %: {failure}"),
        };
        work.report().warnings.push(warning);
        Err(error)
    }

    async fn write(&self, work: &mut Work<'_>, found: &Found, weight: u8, mark: Option<&str>) -> Result<(), Error> {
        let spec = self.plan.with_weight(self.spec, weight);
        work.apply(&spec, found, self.version, self.params, mark).await?;
        if let Some(report) = &mut work.report().gate {
            report.weight_percent = weight;
        }
        Ok(())
    }

    /// The objects after the first write.
    fn written(&self) -> Found {
        let routes = objects::virtual_service(self.spec);
        Found { rule: objects::destination_rule(self.spec), routes, ..Found::default() }
    }

    async fn wait(&self, weight: u8) -> Result<(), Error> {
        let (target, canary) = (self.plan.steps.target, &self.plan.gate.canary);
        let window = humantime::format_duration(self.plan.gate.health.window);
        self.cx.step(
            "gate",
            weight.into(),
            target.into(),
            format!("{canary} has {weight} %; observing it for {window}"),
        );
        tokio::select! {
            stop = self.cx.guard.stopped() => Err(stop.into()),
            // The window begins when proxies have the new weights.
            () = self.cx.clock.sleep(SETTLE + self.plan.gate.health.window) => Ok(()),
        }
    }
}
