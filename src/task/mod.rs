//! The tasks: one file or folder for each command family, and the one list of them, [`Registry::standard`].
//! A task knows the cluster and its context; it never sees the bus.

mod health_gate;
mod image;
mod istio_api;
mod names;
mod pods;
mod record;
mod refusal;
mod registry;
mod watches;

pub mod addon;
pub mod analyze;
pub mod cancel;
pub mod config;
pub mod conformance;
pub mod connection;
pub mod dashboard;
pub mod mesh;
pub mod metrics;
pub mod namespace;
pub mod ping;
pub mod policy;
pub mod sample;
pub mod scrape;
pub mod smi;
pub mod traffic;
pub mod watch_analyze;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::attachment::Attachments;
use crate::chart;
use crate::clock::Clock;
use crate::cluster::{self, Cluster, Clusters, ObjectReport, ObjectsFailure, ObjectsReport};
use crate::conformance as suites;
use crate::error::{Class, Classify, Code};
use crate::event::CommandKey;
use crate::guard::{Guard, Stop};
use crate::mesh as istio;
use crate::progress::{Progress, Step};
use crate::task_event::{PublishError, TaskEvents};

pub use health_gate::Health;
pub use refusal::Refusal;
pub use registry::{DynTask, FailedReport, Registry};

/// Pattern of durations in the schemas, a part of the notation of humantime.
const DURATION: &str = "^[0-9]+(ms|s|m|h)( ?[0-9]+(ms|s|m|h))*$";

/// How long and how often a command may be tried when it does not say so itself.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From the first attempt's start to its end; `expirytime` can only shorten it.
    pub deadline: Duration,
    /// Attempts before the command ends as failed.
    pub attempts: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { deadline: Duration::from_mins(10), attempts: 8 }
    }
}

/// How commands use a worker's slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotClass {
    /// Short and urgent: does not count for the limit of the target, and is executed
    /// while all slots are taken.
    Urgent,
    /// Counts for the target's share.
    Normal,
    /// Holds its slot for hours: at most a quarter of the slots of a worker, and half of those for one target.
    Watch,
}

/// The outcome of a task, with its typed report. A second run of the same command is `Unchanged`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<R> {
    /// Something was written.
    Changed(R),
    /// Everything was so already; nothing was written.
    Unchanged(R),
}

impl<R> Outcome<R> {
    /// `Changed` or `Unchanged`.
    pub const fn new(changed: bool, report: R) -> Self {
        if changed { Self::Changed(report) } else { Self::Unchanged(report) }
    }

    /// Whether anything was written, and the report.
    #[must_use]
    pub fn into_parts(self) -> (bool, R) {
        match self {
            Self::Changed(report) => (true, report),
            Self::Unchanged(report) => (false, report),
        }
    }

    /// The same with another report.
    pub fn map<S>(self, change: impl FnOnce(R) -> S) -> Outcome<S> {
        match self {
            Self::Changed(report) => Outcome::Changed(change(report)),
            Self::Unchanged(report) => Outcome::Unchanged(change(report)),
        }
    }
}

/// Why a task did not get done, and what it did before that.
#[derive(Debug)]
pub struct Failure<R> {
    /// The cause.
    pub error: Error,
    /// Report of what was done and what was not, if the task started to change objects.
    pub report: Option<Outcome<R>>,
}

impl<R, E: Into<Error>> From<E> for Failure<R> {
    fn from(error: E) -> Self {
        Self { error: error.into(), report: None }
    }
}

/// Why a task failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The guard stopped the task.
    #[error(transparent)]
    Stopped(#[from] Stop),
    /// Something about the cluster.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// Something about a chart.
    #[error(transparent)]
    Chart(Box<chart::Error>),
    /// Something about a mesh.
    #[error(transparent)]
    Mesh(#[from] istio::Error),
    /// Something about a conformance run.
    #[error(transparent)]
    Conformance(Box<suites::Error>),
    /// A request about another command failed.
    #[error("cannot cancel another command: {reason}")]
    Commands {
        /// Cause of the error, as in the message.
        reason: String,
    },
    /// An event may be lost.
    #[error("an event could not be published: {0}")]
    Unpublished(#[from] PublishError),
    /// The state of the cluster speaks against it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A metrics store or Grafana cannot be used.
    #[error(transparent)]
    Connection(Box<connection::ConnectionError>),
    /// A parameter that the schema cannot judge.
    #[error("parameter {field}: {reason}")]
    Parameter {
        /// The parameter's path.
        field: &'static str,
        /// Cause of the error, as in the message.
        reason: String,
    },
}

impl Error {
    /// Why the guard stopped the task, wherever it noticed.
    const fn stop(&self) -> Option<Stop> {
        match self {
            Self::Stopped(stop) | Self::Cluster(cluster::Error::Stopped(stop)) => Some(*stop),
            _ => None,
        }
    }
}

impl From<chart::Error> for Error {
    fn from(error: chart::Error) -> Self {
        Self::Chart(Box::new(error))
    }
}

impl From<connection::ConnectionError> for Error {
    fn from(error: connection::ConnectionError) -> Self {
        Self::Connection(Box::new(error))
    }
}

impl From<suites::Error> for Error {
    fn from(error: suites::Error) -> Self {
        Self::Conformance(Box::new(error))
    }
}

impl From<cluster::manifest::Error> for Error {
    fn from(error: cluster::manifest::Error) -> Self {
        Self::Cluster(error.into())
    }
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Stopped(stop) => stop.class(),
            Self::Cluster(error) => error.class(),
            Self::Chart(error) => error.class(),
            Self::Mesh(error) => error.class(),
            Self::Conformance(error) => error.class(),
            Self::Commands { .. } | Self::Unpublished(_) => Class::RETRY,
            Self::Refused(refusal) => refusal.class(),
            Self::Connection(error) => error.class(),
            Self::Parameter { .. } => Class::Rejected,
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Stopped(stop) => stop.code(),
            Self::Cluster(error) => error.code(),
            Self::Chart(error) => error.code(),
            Self::Mesh(error) => error.code(),
            Self::Conformance(error) => error.code(),
            Self::Commands { .. } | Self::Unpublished(_) => Code::SH2002,
            Self::Refused(refusal) => refusal.code(),
            Self::Connection(error) => error.code(),
            Self::Parameter { .. } => Code::SH1005,
        }
    }

    fn remedy(&self) -> String {
        match self {
            Self::Stopped(stop) => stop.remedy(),
            Self::Cluster(error) => error.remedy(),
            Self::Refused(refusal) => refusal.remedy(),
            Self::Connection(error) => error.remedy(),
            Self::Chart(error) => error.remedy(),
            Self::Mesh(error) => error.remedy(),
            Self::Conformance(error) => error.remedy(),
            Self::Commands { .. } | Self::Unpublished(_) | Self::Parameter { .. } => self.code().remedy().to_owned(),
        }
    }
}

/// Bytes that a report of objects may take: half of what a NATS server takes in one message by default.
const MAX_REPORT: usize = 512 * 1024;

/// The end of a task from the report of its objects. A dry run is `Unchanged`, because it does not write.
fn objects_ended<R>(
    done: Result<ObjectsReport, ObjectsFailure>,
    report: impl Fn(ObjectsReport) -> R,
) -> Result<Outcome<R>, Failure<R>> {
    let outcome = |done: ObjectsReport| {
        let wrote = done.changed() && !done.dry_run;
        let done = done.fit(MAX_REPORT);
        Outcome::new(wrote, report(done))
    };
    match done {
        Ok(done) => Ok(outcome(done)),
        Err(failure) => {
            let (error, done) = *failure;
            Err(Failure { error: error.into(), report: done.map(outcome) })
        }
    }
}

/// Requests of a task about other commands of its target.
#[async_trait]
pub trait Commands: Send + Sync {
    /// Requests the cancellation of a command, in the name of `by`.
    ///
    /// # Errors
    /// When the bus does not confirm it.
    async fn cancel(&self, key: &CommandKey, by: &str) -> Result<Cancelled, Error>;
}

/// For tasks that run without a bus: there are no other commands.
#[async_trait]
impl Commands for () {
    async fn cancel(&self, _: &CommandKey, _: &str) -> Result<Cancelled, Error> {
        Ok(Cancelled::Ended)
    }
}

/// Outcome of a request to cancel a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cancelled {
    /// The request is stored: the command ends at its next safe point, or before it starts.
    Requested,
    /// The command was cancelled before.
    Already,
    /// The command has ended before.
    Ended,
}

/// The environment of a task.
#[derive(Clone)]
pub struct TaskContext {
    /// The command's key.
    pub key: CommandKey,
    /// The target's id as the command names it.
    pub target: String,
    /// All clusters this worker knows; a task uses [`TaskContext::cluster`].
    pub clusters: Arc<Clusters>,
    /// The other commands of the target.
    pub commands: Arc<dyn Commands>,
    /// Stores parts of a report that are too large for a result.
    pub attachments: Arc<dyn Attachments>,
    /// Asked before each write.
    pub guard: Guard,
    /// Reports steps to observers.
    pub progress: Arc<dyn Progress>,
    /// Publishes events that must not be lost.
    pub events: Arc<dyn TaskEvents>,
    /// Time.
    pub clock: Clock,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// The command's generation: an older one must not undo a newer one.
    pub generation: Option<u64>,
}

impl TaskContext {
    /// The target's cluster, connected on first use.
    ///
    /// # Errors
    /// When the target's kubeconfig cannot be used.
    pub async fn cluster(&self) -> Result<Arc<Cluster>, Error> {
        Ok(self.clusters.get(&self.target).await?)
    }

    /// Reports a step to observers.
    pub fn step(&self, phase: &str, done: usize, total: usize, message: impl Into<String>) {
        self.progress.report(Step {
            phase: phase.to_owned(),
            message: message.into(),
            done: done as u64,
            total: total as u64,
        });
    }
}

/// One verb. Parameters and report are typed; their JSON Schemas are generated from the types.
pub trait Task: Send + Sync + 'static {
    /// Such as `config.apply`: lower-case words with dots between.
    const VERB: &'static str;
    /// One sentence for help texts and the AsyncAPI document.
    const SUMMARY: &'static str;
    /// `data` of the command. Refuses unknown fields (`#[serde(deny_unknown_fields)]`).
    type Params: DeserializeOwned + JsonSchema + Send + Sync;
    /// `report` of the result.
    type Report: Serialize + JsonSchema + Send + Sync;

    /// How the commands of this verb use a worker's slots.
    const SLOT_CLASS: SlotClass = SlotClass::Normal;

    /// The objects of a report, which the result of a command lists for each failed attempt. Default: none.
    fn objects(report: &Self::Report) -> Vec<&ObjectReport> {
        let _ = report;
        Vec::new()
    }

    /// Defaults of deadline and attempts.
    fn limits(&self) -> Limits {
        Limits::default()
    }

    /// The same for a command with these parameters, where they decide how long it may take. Default: [`Task::limits`].
    fn limits_for(&self, params: &Self::Params) -> Limits {
        let _ = params;
        self.limits()
    }

    /// The installation (inventory) the command writes: two commands on one installation of one target never
    /// interleave. `None` for what writes nothing.
    fn installation(&self, params: &Self::Params) -> Option<String>;

    /// Checks of the parameters that a JSON Schema cannot express and that need no cluster. Clients make them before they
    /// submit a command. Default: none.
    ///
    /// # Errors
    /// A parameter that [`Task::run`] would reject.
    fn check(&self, params: &Self::Params) -> Result<(), Error> {
        let _ = params;
        Ok(())
    }

    /// Parameters that work, for documentation and tests.
    fn example(&self) -> Self::Params;

    /// Does it. Safe to repeat after a crash at any point.
    fn run(
        &self,
        cx: &TaskContext,
        params: Self::Params,
    ) -> impl Future<Output = Result<Outcome<Self::Report>, Failure<Self::Report>>> + Send;
}
