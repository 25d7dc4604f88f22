//! What the engine itself has to say about a command.

use crate::bus;
use crate::error::{Class, Classify, Code, Problem};
use crate::event;
use crate::task;

/// Why a command was not done, or not yet.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no command.
    #[error(transparent)]
    Event(#[from] event::Error),
    /// The bus failed under it.
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// The task failed.
    #[error(transparent)]
    Task(#[from] task::Error),
    /// The configuration does not have the target.
    #[error("target {target} is not in this worker's configuration")]
    UnknownTarget {
        /// As the command names it.
        target: String,
    },
    /// The target's allow-list does not have the verb.
    #[error("verb {verb} is not in verbs of target {target} in the worker's configuration")]
    VerbNotAllowed {
        /// As the command names it.
        target: String,
        /// Such as `mesh.install`.
        verb: String,
    },
    /// A schedule that is not this command's own has published it.
    #[error("the command was published by the message schedule {schedule:?}, which is not the workers' schedule of it")]
    ForeignSchedule {
        /// Subject of the schedule, 256 characters at most.
        schedule: String,
    },
    /// A client's message that is a schedule or a roll-up.
    #[error("the message has the header {name}; a command must not schedule or delete other messages")]
    ForbiddenHeader {
        /// As sent, 64 characters at most.
        name: String,
    },
    /// Another command has this source and id on this target.
    #[error("source and id belong to another command on target {target}: its verb or parameters differ")]
    ReusedId {
        /// Of both commands.
        target: String,
    },
    /// The cluster refuses the lease although it is still held.
    #[error(
        "the cluster refuses the lease with fence {fence}, which is still held: the installation has another writer"
    )]
    ForeignFence {
        /// Of the lease.
        fence: u64,
        /// What the cluster layer found.
        #[source]
        cause: Box<Error>,
    },
    /// `expirytime` or the verb's time limit had passed before an attempt.
    #[error("the command's time was over at {deadline}, before it could be done")]
    Expired {
        /// RFC 3339.
        deadline: String,
    },
    /// Cancelled before an attempt.
    #[error("the command was cancelled before it was done")]
    Cancelled,
    /// Another worker, or another command here, holds the installation.
    #[error("installation {installation} is held by another command")]
    Busy {
        /// Which.
        installation: String,
    },
    /// Another worker began the same command in this moment.
    #[error("another worker has just begun the command")]
    AlreadyRunning,
    /// The last attempt failed, and this is a copy of its message.
    #[error("the next attempt is due in {wait:?}")]
    BackoffPending {
        /// Until then.
        wait: std::time::Duration,
    },
    /// The target has as many slots of the worker as it may take.
    #[error("target {target} has its share of this worker")]
    TargetSaturated {
        /// Which.
        target: String,
    },
    /// Operators paused the target.
    #[error("target {target} is paused")]
    Paused {
        /// Which.
        target: String,
    },
    /// The task's code is wrong.
    #[error("the task panicked: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// The process died under it too often.
    #[error("the worker died {times} times while it carried the command")]
    Crashes {
        /// How often.
        times: u32,
    },
    /// The process died too often before it was known whether the message is a command.
    #[error("the worker died {times} times while it read the message, which was not understood")]
    CrashesDecoding {
        /// How often, the first death not counted.
        times: u32,
    },
    /// The consumer on the bus allows no more deliveries.
    #[error("the bus has delivered the command {times} times and does not deliver it again")]
    MaxDeliveries {
        /// How often.
        times: u64,
    },
    /// Not by us.
    #[error("the command was taken off the queue by somebody else: {reason}")]
    Terminated {
        /// What the other one said.
        reason: String,
    },
    /// The last attempt failed too.
    #[error("attempt {attempt} was the last: {last}")]
    Exhausted {
        /// Its number.
        attempt: u32,
        /// How it failed.
        last: String,
        /// Its code, class and remedy stay visible as the cause.
        #[source]
        cause: Box<Error>,
    },
}

impl Error {
    /// Whether a write may have arrived of which the task knows nothing. What is terminal was refused.
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
            Self::ForeignFence { .. } => "Find out what else writes the inventory: workers on another NATS store, another target on \
                the same cluster and inventory namespace, or a restored backup; then do what docs/errors/SH3015.md says."
                .to_owned(),
            _ => self.code().remedy().to_owned(),
        }
    }
}

impl Error {
    /// The last attempt's failure as the end of all attempts, with its code in the text. A foreign fence keeps its code:
    /// it does not depend on the number of attempts.
    pub(super) fn exhausted(self, attempt: u32) -> Self {
        if matches!(self, Self::ForeignFence { .. }) {
            return self;
        }
        let last = Problem::new(&self).code;
        Self::Exhausted { attempt, last, cause: Box::new(self) }
    }
}
