//! Runs a suite: checks the target, creates namespaces of its own, runs groups of cases at the same time, judges, and
//! deletes the namespaces whatever happened. Asks the guard before each write and each request.

mod case;
mod check;
mod namespaces;
mod precheck;
mod waypoint;
mod workloads;

use std::cmp::Reverse;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _, stream};
use time::format_description::well_known::Rfc3339;

use super::Error;
use super::environment::Environment;
use super::model::{CaseEvent, CaseResult, RunInfo, RunReport, SpecEvent, SuiteInfo, SummaryEvent};
use super::suite::{Case, Group, Suite};
use super::traffic::TrafficDriver;
use super::verdict::{self, Profile};
use crate::clock::Clock;
use crate::guard::{Guard, Stop};
use crate::progress::{Progress, Step};
use crate::task_event::{TaskEvent, TaskEvents};
use namespaces::Namespaces;

/// Longest time between two reads of the objects that a run waits for: the permission to watch may be missing.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Changes within this time are one, because those of a pod come in bursts.
const CLOSE_TOGETHER: Duration = Duration::from_millis(50);

/// How the target's pods are in the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataPlane {
    /// A proxy in each pod.
    Sidecar,
    /// ztunnel on each node.
    Ambient,
}

impl DataPlane {
    /// Name in commands.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sidecar => "sidecar",
            Self::Ambient => "ambient",
        }
    }
}

/// The options of a run.
pub struct Options {
    /// Key of the command.
    pub run_id: String,
    /// Attempt of the command, from 1.
    pub attempt: u32,
    /// Id of the target.
    pub target: String,
    /// The suite with the selected cases.
    pub suite: Suite,
    /// How the pods are in the mesh.
    pub data_plane: DataPlane,
    /// Revision of the control plane; `default` or empty for the one without a revision.
    pub revision: String,
    /// Image of the workloads.
    pub image: String,
    /// Limit of each phase of a case.
    pub phase_timeout: Duration,
    /// Limit for the workloads to become ready.
    pub ready_timeout: Duration,
    /// Groups of cases, and independent cases of a group, that run at the same time.
    pub parallel: usize,
    /// Leaves the namespaces in the cluster.
    pub keep_namespace: bool,
}

impl Options {
    /// Whether a selected case is in a group that needs a waypoint.
    fn needs_waypoints(&self) -> bool {
        self.suite.selected_groups().any(|group| waypoint::name(group, self.data_plane).is_some())
    }
}

/// The environment of a run.
pub struct Context<'a> {
    /// The cluster.
    pub environment: &'a dyn Environment,
    /// Sends requests.
    pub driver: &'a dyn TrafficDriver,
    /// Asked before each write and each request.
    pub guard: &'a Guard,
    /// Takes the events.
    pub events: &'a dyn TaskEvents,
    /// Takes steps for watchers.
    pub progress: &'a dyn Progress,
    /// Time.
    pub clock: Clock,
}

/// Why there is no complete verdict, with what there is.
#[derive(Debug)]
pub struct Incomplete {
    /// The cause.
    pub error: Error,
    /// Results up to then; none when no case was started.
    pub report: Option<Box<RunReport>>,
}

impl From<Error> for Incomplete {
    fn from(error: Error) -> Self {
        Self { error, report: None }
    }
}

/// Runs the suite.
///
/// # Errors
/// What ended the run early, or namespaces that cannot be deleted.
pub async fn run(cx: &Context<'_>, options: &Options) -> Result<RunReport, Incomplete> {
    let all = options.suite.kind.suite().cases;
    cx.step("plan", 0, options.suite.cases.len(), "checking the mesh and the CRDs");
    let (info, profile) = precheck::check(cx, options).await?;
    let namespaces = Namespaces::new(cx, options, info.mesh.labels.clone());
    namespaces.sweep().await?;
    let run = Run { cx, options, info, profile, namespaces, results: Mutex::default() };
    let done = run.groups().await;
    let cleaned = run.namespaces.remove_all(&done).await;
    run.finish(&all, done, cleaned).await
}

/// A run in progress.
struct Run<'a> {
    cx: &'a Context<'a>,
    options: &'a Options,
    info: RunInfo,
    profile: Profile,
    namespaces: Namespaces<'a>,
    results: Mutex<Vec<CaseResult>>,
}

impl Context<'_> {
    /// Reports a step.
    fn step(&self, phase: &str, done: usize, total: usize, message: impl Into<String>) {
        let (done, total) = (done as u64, total as u64);
        self.progress.report(Step { phase: phase.to_owned(), message: message.into(), done, total });
    }

    /// Waits for a change, at most [`LOOK_AGAIN`]. Changes within [`CLOSE_TOGETHER`] are one.
    async fn changed(&self, changes: &mut (impl Stream<Item = ()> + Send + Unpin)) -> Result<(), Error> {
        tokio::select! {
            biased;
            stop = self.guard.stopped() => return Err(stop.into()),
            _ = changes.next() => {}
            () = self.clock.sleep(LOOK_AGAIN) => {}
        }
        self.pause(CLOSE_TOGETHER).await?;
        while changes.next().now_or_never().flatten().is_some() {}
        Ok(())
    }

    /// Waits, unless the guard stops the task.
    async fn pause(&self, duration: Duration) -> Result<(), Error> {
        tokio::select! {
            biased;
            stop = self.guard.stopped() => Err(stop.into()),
            () = self.clock.sleep(duration) => Ok(()),
        }
    }

    /// The time of day, RFC 3339.
    fn now(&self) -> String {
        self.clock.now().format(&Rfc3339).unwrap_or_default()
    }
}

impl Run<'_> {
    /// Every group that has a selected case; the first error that ends the run ends all of them.
    async fn groups(&self) -> Result<(), Error> {
        let mut groups = Vec::new();
        for group in self.options.suite.selected_groups() {
            groups.push(self.group(group).boxed());
        }
        stream::iter(groups).buffer_unordered(self.options.parallel.max(1)).try_collect().await
    }

    async fn group(&self, group: &Group) -> Result<(), Error> {
        let suite = &self.options.suite;
        let mut cases: Vec<_> = suite.cases.iter().enumerate().filter(|(_, case)| case.group == group.name).collect();
        let runnable = cases.iter().any(|(_, case)| self.skips(case).is_none());
        if runnable {
            self.namespaces.create(group).await?;
            self.deploy(group).await?;
        }
        let at_once = if group.is_independent { self.options.parallel.max(1) } else { 1 };
        if group.is_independent {
            // The longest first, so that none of them is left for the end.
            cases.sort_by_key(|(_, case)| Reverse(case.requests()));
        }
        let mut results = Vec::new();
        for (place, case) in cases {
            let ordinal = u32::try_from(place + 1).unwrap_or(u32::MAX);
            results.push(self.one(group, case, ordinal).boxed());
        }
        stream::iter(results).buffer_unordered(at_once).try_collect::<()>().await?;
        if runnable && !self.options.keep_namespace {
            self.namespaces.remove(group).await?;
        }
        Ok(())
    }

    async fn one(&self, group: &Group, case: &Case, ordinal: u32) -> Result<(), Error> {
        let result = match self.skips(case) {
            Some(reason) => case::not_supported(case, ordinal, reason),
            None => self.case(group, case, ordinal).await?,
        };
        self.ended(result).await
    }

    /// Why a case is not run: no driver can, or the feature is declared unsupported.
    fn skips(&self, case: &Case) -> Option<&'static str> {
        case.untestable.or_else(|| self.profile.unsupported.get(case.feature).copied())
    }

    /// Publishes the result of a case before the next begins.
    async fn ended(&self, case: CaseResult) -> Result<(), Error> {
        let done = {
            let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
            results.push(case.clone());
            results.len()
        };
        let total = self.options.suite.cases.len();
        self.cx.step("run", done, total, format!("{} {}", case.case_id, case.status.as_str()));
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let event = CaseEvent { run: self.info.clone(), case, done: number(done), total: number(total) };
        Ok(self.cx.events.publish(TaskEvent::ConformanceCase(Box::new(event))).await?)
    }

    async fn finish(
        self,
        all: &[Case],
        done: Result<(), Error>,
        cleaned: Result<Vec<String>, Error>,
    ) -> Result<RunReport, Incomplete> {
        let Self { cx, options, mut info, profile, results, .. } = self;
        let mut cases = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        cases.sort_by_key(|case| case.ordinal);
        info.finished_at = Some(cx.now());
        let phase = match &done {
            Ok(()) => "completed",
            Err(error) if error.stop() == Some(Stop::Cancelled) => "cancelled",
            Err(_) => "failed",
        };
        let specs = verdict::specs(&options.suite, all, &cases, &profile);
        let summary = verdict::summary(&options.suite, &cases, &specs, phase);
        let (kept_namespaces, stuck) = match cleaned {
            Ok(kept) => (kept, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let report = RunReport { run: info, cases, specs, summary, kept_namespaces };
        if let Some(error) = done.err() {
            let report = (!report.cases.is_empty()).then(|| Box::new(report));
            return Err(Incomplete { error, report });
        }
        if let Err(error) = publish(cx, &report).await {
            return Err(Incomplete { error, report: Some(Box::new(report)) });
        }
        match stuck {
            Some(error) => Err(Incomplete { error, report: Some(Box::new(report)) }),
            None => Ok(report),
        }
    }
}

/// The verdict on each specification, then the summary.
async fn publish(cx: &Context<'_>, report: &RunReport) -> Result<(), Error> {
    for spec in &report.specs {
        let event = SpecEvent { run: report.run.clone(), spec: spec.clone() };
        cx.events.publish(TaskEvent::ConformanceSpec(Box::new(event))).await?;
    }
    let event = SummaryEvent { run: report.run.clone(), specs: report.specs.clone(), summary: report.summary.clone() };
    Ok(cx.events.publish(TaskEvent::ConformanceSummary(Box::new(event))).await?)
}

/// The suite as reports name it.
fn suite_info(suite: &Suite) -> SuiteInfo {
    SuiteInfo { name: suite.kind.name().to_owned(), version: suite.version.to_owned(), origin: "builtin".to_owned() }
}
