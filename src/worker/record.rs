//! Changes of the attempt record of a command, as pure functions. `attempt.rs` writes their results with
//! compare-and-swap, and `tests/it_prop/protocol` explores them in a model of the delivery protocol.

use std::time::Duration;

use time::OffsetDateTime;

use crate::bus::{AttemptRecord, RecordVersion};
use crate::error::Problem;
use crate::event::{self, AttemptedObject, EarlierAttempt, Fingerprint};

/// Crashes of attempts that were alone in their process before a command is quarantined: three with the crash that made
/// it a suspect.
pub const CRASHES_ALONE: u32 = 2;
/// Crashes of all attempts of a command before it is quarantined.
pub const CRASHES: u32 = 10;

/// Input for the start of an attempt.
#[derive(Debug, Clone)]
pub struct Start<'a> {
    /// Verb and parameters of the command; `None` where they cannot be read.
    pub fingerprint: Option<Fingerprint>,
    /// The command writes nothing to the cluster.
    pub read_only: bool,
    /// Name of the worker.
    pub worker: &'a str,
    /// No other attempt of the process is in its first seconds.
    pub isolated: bool,
    /// This very message was delivered before. Only then an open record is a crash; otherwise a copy of the message is
    /// being executed.
    pub redelivered: bool,
    /// The time.
    pub now: OffsetDateTime,
}

/// Whether an attempt may start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// Yes, when this record is stored.
    Attempt(AttemptRecord),
    /// No: an attempt failed, and the next one is due after this time.
    BackoffPending(Duration),
    /// No: too many processes crashed while they executed the command. The record has the counts and is not stored.
    Crashed(AttemptRecord),
    /// No: the record belongs to another command with the same target, source and id.
    Reused,
}

/// How an attempt failed.
#[derive(Debug, Clone, Copy)]
pub struct Failed<'a> {
    /// Why.
    pub problem: &'a Problem,
    /// What it wrote, deleted or failed to write.
    pub objects: &'a [AttemptedObject],
    /// When.
    pub ended: OffsetDateTime,
    /// Until the next attempt is due.
    pub delay: Duration,
}

/// Whether a record belongs to another command with the same target, source and id.
#[must_use]
pub fn is_reused(record: &AttemptRecord, fingerprint: Option<&Fingerprint>) -> bool {
    record.fingerprint.is_some() && record.fingerprint.as_ref() != fingerprint
}

/// Whether the next attempt has to start alone, because a process crashed during an earlier one.
#[must_use]
pub const fn is_suspect(record: &AttemptRecord) -> bool {
    record.in_progress || record.crashes > 0
}

/// Starts an attempt after those of `before`.
#[must_use]
pub fn begin(before: &AttemptRecord, start: &Start<'_>) -> Begin {
    if is_reused(before, start.fingerprint.as_ref()) {
        return Begin::Reused;
    }
    if let Some(wait) = wait(before, start.now) {
        return Begin::BackoffPending(wait);
    }
    let died = before.in_progress && start.redelivered;
    let crashes = before.crashes + u32::from(died);
    let isolated_crashes = before.isolated_crashes + u32::from(died && before.isolated);
    if isolated_crashes >= CRASHES_ALONE || crashes >= CRASHES {
        return Begin::Crashed(AttemptRecord { crashes, isolated_crashes, ..before.clone() });
    }
    Begin::Attempt(AttemptRecord {
        version: RecordVersion::default(),
        fingerprint: start.fingerprint.clone(),
        read_only: start.read_only,
        attempts: before.attempts + 1,
        runs: before.runs + 1,
        first_started_s: if before.attempts == 0 { start.now.unix_timestamp() } else { before.first_started_s },
        worker: start.worker.to_owned(),
        in_progress: true,
        isolated: start.isolated,
        crashes,
        isolated_crashes,
        changed: before.changed(),
        write_started: false,
        failed: before.failed.clone(),
        not_before_ms: None,
    })
}

/// The record after the attempt has ended. Without a failure the attempt does not count.
#[must_use]
pub fn end(found: AttemptRecord, changed: bool, failed: Option<Failed<'_>>) -> AttemptRecord {
    let changed = found.changed || changed;
    let mut record = AttemptRecord { in_progress: false, isolated: false, changed, write_started: false, ..found };
    match failed {
        Some(Failed { problem, objects, ended, delay }) => {
            EarlierAttempt::new(record.attempts, &record.worker, event::rfc3339(ended), problem, objects)
                .add_to(&mut record.failed);
            record.not_before_ms = Some(milliseconds(ended + delay));
        }
        None => record.attempts -= 1,
    }
    record
}

/// The record without the run that `worker` abandoned: the process has not crashed, so the run must not count as a crash.
/// `None` when there is nothing to roll back.
#[must_use]
pub fn roll_back(record: AttemptRecord, run: u32, worker: &str) -> Option<AttemptRecord> {
    if record.runs > run {
        // The next attempt has counted it as a crash.
        let isolated_crashes = record.isolated_crashes.saturating_sub(1);
        return record.crashes.checked_sub(1).map(|crashes| AttemptRecord { crashes, isolated_crashes, ..record });
    }
    let ours = record.runs == run && record.in_progress && record.worker == worker;
    let attempts = record.attempts.saturating_sub(1);
    ours.then(|| AttemptRecord {
        in_progress: false,
        isolated: false,
        attempts,
        changed: record.changed(),
        write_started: false,
        ..record
    })
}

/// The record with the note that the running attempt is about to write. `None` when it is not running or has that note.
#[must_use]
pub fn record_write_start(record: &AttemptRecord, run: u32) -> Option<AttemptRecord> {
    (record.runs == run && record.in_progress && !record.write_started)
        .then(|| AttemptRecord { write_started: true, ..record.clone() })
}

fn milliseconds(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

/// Until the next attempt is due, if it is not.
fn wait(record: &AttemptRecord, now: OffsetDateTime) -> Option<Duration> {
    let left = record.not_before_ms?.saturating_sub(milliseconds(now));
    u64::try_from(left).ok().filter(|left| *left > 0).map(Duration::from_millis)
}
