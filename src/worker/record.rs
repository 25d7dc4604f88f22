//! Changes of the attempt record of a command, as pure functions. `attempt.rs` writes their results with
//! compare-and-swap, and `tests/it_prop/protocol` explores them in a model of the delivery protocol.

use std::collections::BTreeMap;
use std::time::Duration;

use time::OffsetDateTime;

use crate::bus::{AttemptRecord, RecordVersion, Waiting};
use crate::error::Problem;
use crate::event::{self, AttemptedObject, EarlierAttempt, Fingerprint, WaitReason};

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
    if let Some(left) = backoff_left(before, start.now) {
        return Begin::BackoffPending(left);
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
        waiting: None,
    })
}

/// The record of a command that waits for `reason` from now on. `None` when the record has that reason already, or when an
/// attempt is in progress: then a copy of the message waits, or the process of the attempt has crashed.
#[must_use]
pub fn wait(record: &AttemptRecord, reason: WaitReason, now: OffsetDateTime) -> Option<AttemptRecord> {
    let is_known = record.waiting.as_ref().is_some_and(|waiting| waiting.reason == reason);
    (!is_known && !record.in_progress).then(|| AttemptRecord {
        waiting: Some(Waiting { reason, since_ms: milliseconds(now), earlier_ms: waited(record, now) }),
        ..record.clone()
    })
}

/// Milliseconds that the command has waited since its last attempt started, for each reason.
#[must_use]
pub fn waited(record: &AttemptRecord, now: OffsetDateTime) -> BTreeMap<WaitReason, u64> {
    let Some(waiting) = &record.waiting else { return BTreeMap::new() };
    let mut waited = waiting.earlier_ms.clone();
    // The clock of another worker may be behind.
    let last = u64::try_from(milliseconds(now).saturating_sub(waiting.since_ms)).unwrap_or_default();
    *waited.entry(waiting.reason).or_default() += last;
    waited
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
fn backoff_left(record: &AttemptRecord, now: OffsetDateTime) -> Option<Duration> {
    let left = record.not_before_ms?.saturating_sub(milliseconds(now));
    u64::try_from(left).ok().filter(|left| *left > 0).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(milliseconds).unwrap())
    }

    #[test]
    fn waits_are_summed_for_each_reason() {
        let mut record = AttemptRecord::default();
        for (reason, since) in [
            (WaitReason::Pause, 1_000),
            (WaitReason::Installation, 2_000),
            (WaitReason::Slot, 2_500),
            (WaitReason::Installation, 3_000),
        ] {
            record = wait(&record, reason, at(since)).expect("another reason than before");
            assert_eq!(wait(&record, reason, at(since + 200)), None, "the same reason is not written again");
        }
        let expected = [(WaitReason::Installation, 500 + 7_000), (WaitReason::Slot, 500), (WaitReason::Pause, 1_000)];
        assert_eq!(waited(&record, at(10_000)), BTreeMap::from(expected));
    }

    #[test]
    fn clock_of_another_worker_that_is_behind_shortens_no_earlier_wait() {
        let record = wait(&AttemptRecord::default(), WaitReason::Pause, at(1_000)).unwrap();
        let record = wait(&record, WaitReason::Slot, at(2_000)).unwrap();
        let expected = [(WaitReason::Slot, 0), (WaitReason::Pause, 1_000)];
        assert_eq!(waited(&record, at(1_500)), BTreeMap::from(expected));
    }

    #[test]
    fn copy_that_waits_does_not_change_the_record_of_an_attempt_in_progress() {
        let record = AttemptRecord { in_progress: true, ..AttemptRecord::default() };
        assert_eq!(wait(&record, WaitReason::Installation, at(1_000)), None);
    }

    #[test]
    fn attempt_starts_without_the_waits_before_it() {
        let record = wait(&AttemptRecord::default(), WaitReason::Slot, at(1_000)).unwrap();
        let start = Start {
            fingerprint: None,
            read_only: false,
            worker: "w",
            isolated: false,
            redelivered: true,
            now: at(2_000),
        };
        let Begin::Attempt(begun) = begin(&record, &start) else { panic!("nothing prevents the attempt") };
        assert_eq!(begun.waiting, None);
    }
}
