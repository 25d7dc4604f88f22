//! Errors of the engine: why a command did not run, or not to its end.

use crate::bus;
use crate::error::{Class, Classify, Code, Problem};
use crate::event;
use crate::task;

/// Why a command failed, was rejected, or waits.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The message is not a valid command.
    #[error(transparent)]
    Event(#[from] event::Error),
    /// A request to the bus failed.
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// The task failed.
    #[error(transparent)]
    Task(#[from] task::Error),
    /// The target is not configured.
    #[error("target {target} is not in this worker's configuration")]
    UnknownTarget {
        /// Id of the target in the command.
        target: String,
    },
    /// The allow-list of the target does not contain the verb.
    #[error("verb {verb} is not in verbs of target {target} in the worker's configuration")]
    VerbNotAllowed {
        /// Id of the target in the command.
        target: String,
        /// Such as `mesh.install`.
        verb: String,
    },
    /// A message schedule of another client has published the command.
    #[error("the command was published by the message schedule {schedule:?}, which is not the workers' schedule of it")]
    ForeignSchedule {
        /// Subject of the schedule, 256 characters at most.
        schedule: String,
    },
    /// The message of a client schedules or deletes other messages.
    #[error("the message has the header {name}; a command must not schedule or delete other messages")]
    ForbiddenHeader {
        /// As sent, 64 characters at most.
        name: String,
    },
    /// Another command on this target has the same source and id.
    #[error("source and id belong to another command on target {target}: its verb or parameters differ")]
    ReusedId {
        /// Of both commands.
        target: String,
    },
    /// The cluster rejects the fence of a lease that this worker still holds.
    #[error(
        "the cluster rejects fence {fence} although this worker still holds the lease: another client writes the installation"
    )]
    ForeignFence {
        /// Of the lease.
        fence: u64,
        /// The error of the task.
        #[source]
        cause: Box<Error>,
    },
    /// `expirytime`, or the time limit of the verb, passed before an attempt.
    #[error("the command expired at {deadline}, before it could be executed")]
    Expired {
        /// RFC 3339.
        deadline: String,
    },
    /// The command was cancelled before an attempt.
    #[error("the command was cancelled before it was executed")]
    Cancelled,
    /// Another command holds the lease of the installation.
    #[error("another command holds the lease of installation {installation}")]
    Busy {
        /// Name of the installation.
        installation: String,
    },
    /// Another worker started the same command at the same time.
    #[error("another worker has just started the command")]
    AlreadyRunning,
    /// An attempt failed, and the delay before the next one is not over.
    #[error("the next attempt is due in {left:?}")]
    BackoffPending {
        /// Remaining delay.
        left: std::time::Duration,
    },
    /// The bus has refused a result, so commands could not end.
    #[error("NATS refuses results, so no command starts")]
    ResultsRefused,
    /// Commands of the target occupy all slots that it may use.
    #[error("commands of target {target} occupy all slots of this worker that the target may use")]
    TargetSaturated {
        /// Id of the target.
        target: String,
    },
    /// Commands of busy targets occupy all slots that these may use together.
    #[error("commands of busy targets occupy all slots of this worker that they may use together")]
    WorkerSaturated,
    /// Parameters of running commands occupy the memory for them.
    #[error("parameters of running commands occupy the memory of this worker for parameters")]
    ParamsMemoryExhausted,
    /// An operator paused the target.
    #[error("target {target} is paused")]
    Paused {
        /// Id of the target.
        target: String,
    },
    /// The task panicked: a bug.
    #[error("the task panicked: {message}")]
    Panicked {
        /// Message of the panic.
        message: String,
    },
    /// Too many processes crashed while they executed the command.
    #[error("{times} worker processes crashed while they executed the command")]
    Crashes {
        /// How often.
        times: u32,
    },
    /// Too many processes crashed while they decoded the message.
    #[error("{times} worker processes crashed while they decoded the message")]
    CrashesDecoding {
        /// How often, without the first crash.
        times: u32,
    },
    /// The consumer permits no further delivery.
    #[error("NATS has delivered the command {times} times and does not deliver it again")]
    MaxDeliveries {
        /// How often.
        times: u64,
    },
    /// A client that is not a worker terminated the message.
    #[error("another client terminated the message of the command: {reason}")]
    Terminated {
        /// Reason that the client gave.
        reason: String,
    },
    /// The last permitted attempt failed too.
    #[error("attempt {attempt} was the last: {last}")]
    Exhausted {
        /// Its number.
        attempt: u32,
        /// Code of its error.
        last: String,
        /// Its error.
        #[source]
        cause: Box<Error>,
    },
}

impl Error {
    /// Whether a write may have reached the cluster without an answer. After a terminal error the server rejected it.
    pub(super) fn may_have_written(&self) -> bool {
        !matches!(self.class(), Class::Terminal | Class::Rejected | Class::Superseded)
    }
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Event(error) => error.class(),
            Self::Bus(error) => error.class(),
            Self::Task(error) => error.class(),
            Self::UnknownTarget { .. }
            | Self::VerbNotAllowed { .. }
            | Self::ForeignSchedule { .. }
            | Self::ForbiddenHeader { .. }
            | Self::ReusedId { .. } => Class::Rejected,
            Self::Crashes { .. }
            | Self::CrashesDecoding { .. }
            | Self::MaxDeliveries { .. }
            | Self::Terminated { .. }
            | Self::Exhausted { .. } => Class::Terminal,
            Self::Expired { .. } => Class::Expired,
            Self::Cancelled => Class::Cancelled,
            Self::Busy { .. }
            | Self::AlreadyRunning
            | Self::BackoffPending { .. }
            | Self::TargetSaturated { .. }
            | Self::WorkerSaturated
            | Self::ResultsRefused
            | Self::ParamsMemoryExhausted
            | Self::Paused { .. } => Class::Busy,
            Self::Panicked { .. } | Self::ForeignFence { .. } => Class::RETRY,
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Event(error) => error.code(),
            Self::Bus(error) => error.code(),
            Self::Task(error) => error.code(),
            Self::UnknownTarget { .. } => Code::SH1008,
            Self::VerbNotAllowed { .. } => Code::SH1021,
            Self::ForeignSchedule { .. } | Self::ForbiddenHeader { .. } => Code::SH1018,
            Self::ReusedId { .. } => Code::SH1019,
            Self::ForeignFence { .. } => Code::SH3015,
            Self::Expired { .. } => Code::SH1010,
            Self::Cancelled => Code::SH1012,
            Self::Crashes { .. } | Self::CrashesDecoding { .. } => Code::SH1013,
            Self::Exhausted { .. } => Code::SH1014,
            Self::MaxDeliveries { .. } => Code::SH1016,
            Self::Terminated { .. } => Code::SH1017,
            Self::Busy { .. }
            | Self::AlreadyRunning
            | Self::BackoffPending { .. }
            | Self::TargetSaturated { .. }
            | Self::WorkerSaturated
            | Self::ResultsRefused
            | Self::ParamsMemoryExhausted
            | Self::Paused { .. } => Code::SH2006,
            Self::Panicked { .. } => Code::SH4001,
        }
    }

    fn remedy(&self) -> String {
        match self {
            Self::Event(error) => error.remedy(),
            Self::Bus(error) => error.remedy(),
            Self::Task(error) => error.remedy(),
            Self::Exhausted { cause, .. } => cause.remedy(),
            Self::ForeignFence { .. } => {
                "Find the other writer of the inventory: workers on another NATS store, another target with \
                the same cluster and inventory namespace, or a restored backup. Then follow docs/errors/SH3015.md."
                    .to_owned()
            }
            _ => self.code().remedy().to_owned(),
        }
    }
}

impl Error {
    /// The error of the last attempt as the error of the command, with its code in the text. A foreign fence keeps its
    /// code, because it does not depend on the number of attempts.
    pub(super) fn exhausted(self, attempt: u32) -> Self {
        if matches!(self, Self::ForeignFence { .. }) {
            return self;
        }
        let last = Problem::new(&self).code;
        Self::Exhausted { attempt, last, cause: Box::new(self) }
    }
}
