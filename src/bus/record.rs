//! What the bus stores about commands beside their messages: attempt records and results.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Queue;
use crate::event::{CommandId, EarlierAttempt, Fingerprint};

/// Name of an attempt record: the last tokens of its subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecordKey(String);

impl RecordKey {
    /// The record of a command: `<target>.<key>`.
    #[must_use]
    pub fn command(command: &CommandId) -> Self {
        Self(command.to_string())
    }

    /// The record of reading a message: `_message.<stream sequence>`, `_waiting_message.<stream sequence>` for the
    /// waiting stream. No target begins with an underscore.
    #[must_use]
    pub fn message(queue: Queue, sequence: u64) -> Self {
        Self::of("message", queue, sequence)
    }

    /// The record of reading the stored parameters that a message refers to, named like [`RecordKey::message`]:
    /// `_parameters.<stream sequence>`.
    #[must_use]
    pub fn parameters(queue: Queue, sequence: u64) -> Self {
        Self::of("parameters", queue, sequence)
    }

    fn of(reading: &str, queue: Queue, sequence: u64) -> Self {
        match queue {
            Queue::Commands => Self(format!("_{reading}.{sequence}")),
            Queue::Waiting => Self(format!("_waiting_{reading}.{sequence}")),
        }
    }

    /// As in the subject.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for RecordKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is stored with the result of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultRecord {
    /// What the command asked for. `None` for the result of a message that could not be read as a command.
    pub fingerprint: Option<Fingerprint>,
}

/// How long the bus stores a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// As long as results are stored, 30 days: it keeps a command that writes from being executed again.
    Full,
    /// For [`SHORT_RETENTION`]: the command wrote nothing and could not have.
    Short,
}

/// Lifetime of results and attempt records of commands that write nothing to the cluster. At least as long as such a
/// command may take.
pub const SHORT_RETENTION: Duration = Duration::from_hours(24);

/// Attempts of a command, stored outside the process that may die.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// What the command asks for. The first command that is read with a source and id binds them to its verb and
    /// parameters. `None` in records of readings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// The command writes nothing to the cluster, so its record expires after [`SHORT_RETENTION`] once it has begun.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// Attempts begun, those that were handed back not counted.
    pub attempts: u32,
    /// Attempts begun, all: what parts the events of one from those of the next.
    pub runs: u32,
    /// When the first began, seconds of Unix time: the command's own time limit runs from here.
    pub first_started_s: i64,
    /// Who began the last one.
    pub worker: String,
    /// The last one has neither ended nor been handed back: it runs, or its process died.
    pub in_progress: bool,
    /// The last one has its worker to itself: if it is found open, its process died of it. Only while `open`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub isolated: bool,
    /// Attempts that were found open when the next began, those whose worker turned out to live not counted. The process
    /// may have died of another command.
    pub crashes: u32,
    /// Those of them that had their worker to themselves.
    #[serde(default)]
    pub isolated_crashes: u32,
    /// An attempt before the last one wrote to the cluster.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub changed: bool,
    /// The open one has begun to write; noted before its first write, so that it is known of one that died.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub write_started: bool,
    /// Attempts that failed, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<EarlierAttempt>,
    /// The next attempt waits until then, milliseconds of Unix time: also that of a copy of the message, which knows
    /// nothing of the delay that the failed one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before_ms: Option<i64>,
}

impl AttemptRecord {
    /// Whether one of them wrote, or died when it had begun to.
    #[must_use]
    pub const fn changed(&self) -> bool {
        self.changed || self.write_started
    }
}
