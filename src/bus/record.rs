//! Records that the bus stores about commands beside their messages: attempts and results.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Queue;
use crate::event::{CommandId, EarlierAttempt, Fingerprint, WaitReason};

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
    /// The command never writes to the cluster, so its record expires after [`SHORT_RETENTION`] once it has started.
    #[serde(default, alias = "brief", skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// Attempts started, without those that were requeued.
    #[serde(alias = "begun")]
    pub attempts: u32,
    /// Attempts started, including those that were requeued: distinguishes the events of one run from those of the next.
    pub runs: u32,
    /// When the first attempt started, seconds of Unix time. The time limit of the verb starts then.
    #[serde(alias = "since")]
    pub first_started_s: i64,
    /// The worker of the last attempt.
    pub worker: String,
    /// The last attempt has neither ended nor been requeued: it runs, or its process has crashed.
    #[serde(alias = "open")]
    pub in_progress: bool,
    /// No other attempt of the process is in its first seconds: if the process crashes now, the last attempt is the cause.
    /// Only while `in_progress`.
    #[serde(default, alias = "alone", skip_serializing_if = "std::ops::Not::not")]
    pub isolated: bool,
    /// Attempts that were in progress when the next one started, without those whose worker had not crashed. Another command
    /// may have caused the crash.
    #[serde(alias = "crashed")]
    pub crashes: u32,
    /// Crashes of attempts that were `isolated`.
    #[serde(default, alias = "crashed_alone")]
    pub isolated_crashes: u32,
    /// An attempt before the last one wrote to the cluster.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub changed: bool,
    /// The attempt in progress has started to write. Recorded before its first write, so that it is known after a crash.
    #[serde(default, alias = "writing", skip_serializing_if = "std::ops::Not::not")]
    pub write_started: bool,
    /// Attempts that failed, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<EarlierAttempt>,
    /// Earliest start of the next attempt, milliseconds of Unix time. It also applies to copies of the message, which NATS
    /// delivers without the delay.
    #[serde(default, alias = "not_before", skip_serializing_if = "Option::is_none")]
    pub not_before_ms: Option<i64>,
    /// What the command waits for; `None` when it has not waited since its last attempt started. Records of earlier workers do
    /// not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
}

/// What a command waits for before its next attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Why it could not start at the last change.
    pub reason: WaitReason,
    /// Since when, milliseconds of Unix time.
    pub since_ms: i64,
    /// Milliseconds that it waited before, for each reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub earlier_ms: BTreeMap<WaitReason, u64>,
}

impl AttemptRecord {
    /// Whether an attempt wrote to the cluster, or crashed after it had started to write.
    #[must_use]
    pub const fn changed(&self) -> bool {
        self.changed || self.write_started
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_with_earlier_field_names_is_read() {
        let text = r#"{"brief":true,"begun":2,"runs":3,"since":100,"worker":"w","open":true,"alone":true,"crashed":1,
            "crashed_alone":1,"writing":true,"not_before":5}"#;
        let record: AttemptRecord = serde_json::from_str(text).unwrap();
        let expected = AttemptRecord {
            read_only: true,
            attempts: 2,
            runs: 3,
            first_started_s: 100,
            worker: "w".to_owned(),
            in_progress: true,
            isolated: true,
            crashes: 1,
            isolated_crashes: 1,
            write_started: true,
            not_before_ms: Some(5),
            ..AttemptRecord::default()
        };
        assert_eq!(record, expected);
    }

    #[test]
    fn record_keeps_what_its_command_waits_for() {
        let earlier_ms = BTreeMap::from([(WaitReason::Pause, 300)]);
        let waiting = Waiting { reason: WaitReason::Installation, since_ms: 5, earlier_ms };
        let record = AttemptRecord { waiting: Some(waiting), ..AttemptRecord::default() };
        let text = serde_json::to_string(&record).unwrap();
        let expected = r#""waiting":{"reason":"installation","since_ms":5,"earlier_ms":{"pause":300}}"#;
        assert!(text.contains(expected), "{text}");
        assert_eq!(serde_json::from_str::<AttemptRecord>(&text).unwrap(), record);
        assert!(!serde_json::to_string(&AttemptRecord::default()).unwrap().contains("waiting"));
    }

    #[test]
    fn record_of_a_later_version_is_refused() {
        let mut record = serde_json::to_value(AttemptRecord::default()).unwrap();
        assert_eq!(record["version"], 1);
        record["version"] = 2.into();
        let error = serde_json::from_value::<AttemptRecord>(record).unwrap_err();
        assert!(error.to_string().contains("version 2 is later than this worker supports (1)"), "{error}");
    }
}
