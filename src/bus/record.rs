//! Records that the bus stores about commands beside their messages: attempts and results.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Queue;
use crate::event::{CommandId, EarlierAttempt, Fingerprint};

/// Name of an attempt record: the last tokens of its subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecordKey(String);

impl RecordKey {
    /// Key of the record of a command: `<target>.<key>`.
    #[must_use]
    pub fn command(command: &CommandId) -> Self {
        Self(command.to_string())
    }

    /// Key of the record of decoding a message: `_message.<stream sequence>`, or `_waiting_message.<stream sequence>` for the
    /// waiting stream. A target cannot start with an underscore.
    #[must_use]
    pub fn message(queue: Queue, sequence: u64) -> Self {
        Self::of("message", queue, sequence)
    }

    /// Key of the record of decoding the stored parameters of a message, named like [`RecordKey::message`]:
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

    /// The key as in the subject.
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

/// The record that is stored with the result of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultRecord {
    /// Verb and parameters of the command. `None` for the result of a message that is not a valid command.
    pub fingerprint: Option<Fingerprint>,
}

/// How long the bus stores a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// 30 days: the result prevents a command that writes from being executed again.
    Full,
    /// [`SHORT_RETENTION`]: the command wrote nothing, and could not have.
    Short,
}

/// Lifetime of results and attempt records of commands that write nothing to the cluster. Not shorter than the longest
/// duration of such a command.
pub const SHORT_RETENTION: Duration = Duration::from_hours(24);

/// Version of the format of attempt records. Records without it are of version 1. A worker refuses records of a later
/// version, which a later worker has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct RecordVersion(u32);

impl RecordVersion {
    const CURRENT: Self = Self(1);
}

impl Default for RecordVersion {
    fn default() -> Self {
        Self::CURRENT
    }
}

impl TryFrom<u32> for RecordVersion {
    type Error = String;

    fn try_from(version: u32) -> Result<Self, Self::Error> {
        if version <= Self::CURRENT.0 {
            Ok(Self(version))
        } else {
            Err(format!("version {version} is later than this worker supports ({})", Self::CURRENT.0))
        }
    }
}

impl From<RecordVersion> for u32 {
    fn from(version: RecordVersion) -> Self {
        version.0
    }
}

/// The attempts of a command, stored as JSON on the bus, because the process that executes them may crash. The record of a
/// message that is decoded has the same form. Aliases are names of fields before version 0.1.0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// Version of the format.
    #[serde(default)]
    pub version: RecordVersion,
    /// Verb and parameters. The first command that is read with a source and id binds them to its verb and parameters. `None`
    /// in records of decoding.
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
    /// Whether an attempt wrote to the cluster, or crashed after it had started to write.
    #[must_use]
    pub const fn changed(&self) -> bool {
        self.changed || self.write_started
    }
}
