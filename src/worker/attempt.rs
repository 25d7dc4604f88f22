//! Records attempts on the bus: before an attempt starts, before its first write, and when it has ended.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use super::Engine;
use super::dispatch::FinishedAttempt;
use super::isolation::{PROBATION, StartPermit};
use super::record::{self, Begin, Failed, Start};
use crate::bus::{self, AttemptRecord, Delivery, Queue, RecordKey, Swap};
use crate::error::{Code, Problem};
use crate::event::{Command, Origin, WaitReason};
use crate::guard::Guard;
use crate::retry;
use crate::task::{DynTask, Limits};

/// Tries to roll an attempt back: some minutes, because a request without a connection takes 10 s.
const ROLL_BACK_TRIES: u32 = 20;

/// A command that is being executed.
pub(super) struct CommandContext<'a> {
    pub command: &'a Command,
    pub task: &'a dyn DynTask,
    pub delivery: &'a Delivery,
    pub received: Instant,
    pub in_flight: &'a InFlight,
}

impl CommandContext<'_> {
    /// Key of the attempt record of the command.
    pub fn record_key(&self) -> RecordKey {
        RecordKey::command(&self.command.origin.command())
    }
}

/// Whether a record belongs to another command with the same target, source and id.
pub(super) fn is_reused(record: &AttemptRecord, origin: &Origin) -> bool {
    record::is_reused(record, origin.fingerprint().as_ref())
}

/// The attempt of a delivery that was started and has neither ended nor been requeued: its record and its run.
#[derive(Debug, Default)]
pub(super) struct InFlight(Mutex<Option<(RecordKey, u32)>>);

impl InFlight {
    /// Sets the attempt.
    pub fn begin(&self, key: &RecordKey, run: u32) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((key.clone(), run));
    }

    /// Removes the attempt: its end is recorded.
    pub fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// An attempt and its record on the bus.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    pub record: AttemptRecord,
    revision: u64,
    events: AtomicU32,
    /// Milliseconds that the command waited before the attempt, for each reason.
    pub waited: BTreeMap<WaitReason, u64>,
    /// Held during the first seconds of the attempt.
    pub(super) start_permit: Option<StartPermit>,
}

/// Whether an attempt has started.
pub(super) enum AttemptStart {
    /// Yes.
    Started(Attempt),
    /// No: another worker has started one at the same time.
    AlreadyRunning,
    /// No: an attempt failed, and the next one is due after this time.
    BackoffPending(Duration),
    /// No: the command has a result by now.
    AlreadyEnded,
    /// No: too many processes crashed while they executed the command.
    Crashed(Attempt),
    /// No: target, source and id belong to another command.
    IdReused,
}

impl Attempt {
    /// Number of the attempt's next event.
    pub fn next_event(&self) -> u32 {
        self.events.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether the previous attempt panicked.
    pub fn panicked_before(&self) -> bool {
        let last = self.record.failed.last().filter(|last| last.attempt + 1 == self.record.attempts);
        last.is_some_and(|last| last.problem.code == Code::SH4001.as_str())
    }

    /// Deadline of the command: its own expiry, or the time limit of the verb from the first attempt on, whichever is earlier.
    pub fn deadline(&self, limits: Limits, expiry: Option<OffsetDateTime>) -> OffsetDateTime {
        let since =
            OffsetDateTime::from_unix_timestamp(self.record.first_started_s).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let limit = since + limits.deadline;
        expiry.map_or(limit, |expiry| expiry.min(limit))
    }
}

impl Engine {
    /// The attempt that was recorded last.
    pub(super) async fn last_attempt(&self, cx: &CommandContext<'_>) -> Result<Attempt, bus::Error> {
        let (record, revision) = self.bus.attempts(&cx.record_key()).await?;
        Ok(Attempt { record, revision, ..Attempt::default() })
    }

    /// The record of the command and its revision. A first delivery of a new command is expected to have no record, which saves
    /// reading it: otherwise the compare-and-swap fails.
    async fn expected_record(
        &self,
        cx: &CommandContext<'_>,
        key: &RecordKey,
    ) -> Result<(AttemptRecord, u64), bus::Error> {
        let is_new = cx.delivery.delivered == 1 && cx.delivery.queue == Queue::Commands;
        if is_new { Ok((AttemptRecord::default(), 0)) } else { self.bus.attempts(key).await }
    }

    /// Binds target, source and id to this command before it waits, as the start of an attempt does, and records what it waits
    /// for. False when they belong to another command.
    pub(super) async fn record_wait(&self, cx: &CommandContext<'_>, reason: WaitReason) -> Result<bool, bus::Error> {
        let (key, origin) = (cx.record_key(), &cx.command.origin);
        let mut known = self.expected_record(cx, &key).await?;
        loop {
            let (mut record, revision) = known;
            let is_bound = record.fingerprint.is_some();
            if is_bound && is_reused(&record, origin) {
                return Ok(false);
            }
            if !is_bound {
                record.fingerprint = origin.fingerprint();
                record.read_only = self.is_read_only(cx.task.verb());
            }
            let waiting = record::wait(&record, reason, self.clock.now());
            let Some(record) = waiting.or((!is_bound).then_some(record)) else { return Ok(true) };
            match self.bus.record_attempts(&key, &record, revision).await {
                Ok(Swap::Won(_)) => return Ok(true),
                // Another worker has a copy of the message and has written the record in the meantime. A wait that is not
                // recorded costs an observer some seconds in `started`; only the binding must not be lost.
                _ if is_bound => return Ok(true),
                Ok(Swap::Lost) => known = self.bus.attempts(&key).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Records the attempt before it starts, so that it counts even if the process crashes.
    ///
    /// An attempt that is recorded as running has crashed if this message was delivered before. Otherwise a copy of the message
    /// is being executed.
    pub(super) async fn begin_attempt(
        &self,
        cx: &CommandContext<'_>,
        start_permit: StartPermit,
    ) -> Result<AttemptStart, bus::Error> {
        let (key, origin) = (&cx.record_key(), &cx.command.origin);
        let mut known = self.expected_record(cx, key).await?;
        for _ in 0..2 {
            let (before, revision) = known;
            let is_ours = !is_reused(&before, origin);
            if is_ours && before.in_progress && self.bus.find_result(&origin.command()).await?.is_some() {
                return Ok(AttemptStart::AlreadyEnded);
            }
            let start = Start {
                fingerprint: origin.fingerprint(),
                read_only: self.is_read_only(cx.task.verb()),
                worker: &self.settings.worker,
                isolated: start_permit.is_alone(),
                redelivered: cx.delivery.delivered > 1,
                now: self.clock.now(),
            };
            let record = match record::begin(&before, &start) {
                Begin::Attempt(record) => record,
                Begin::BackoffPending(wait) => return Ok(AttemptStart::BackoffPending(wait)),
                Begin::Reused => return Ok(AttemptStart::IdReused),
                Begin::Crashed(record) => {
                    return Ok(AttemptStart::Crashed(Attempt { record, revision, ..Attempt::default() }));
                }
            };
            cx.in_flight.begin(key, record.runs);
            if let Swap::Won(revision) = self.bus.record_attempts(key, &record, revision).await? {
                return Ok(AttemptStart::Started(Attempt {
                    record,
                    revision,
                    waited: record::waited(&before, start.now),
                    start_permit: Some(start_permit),
                    ..Attempt::default()
                }));
            }
            cx.in_flight.end();
            known = self.bus.attempts(key).await?;
        }
        Ok(AttemptStart::AlreadyRunning)
    }

    /// Records the end of the attempt, and when the next one is due. Without a failure the attempt does not count.
    pub(super) async fn close_attempt(
        &self,
        cx: &CommandContext<'_>,
        finished: &FinishedAttempt,
        failure: Option<(&Problem, Duration)>,
    ) -> Result<(), bus::Error> {
        let (attempt, key) = (&finished.attempt, &cx.record_key());
        let mut known = (attempt.record.clone(), attempt.revision);
        // Revision 0: no attempt was started.
        while known.1 != 0 {
            let (found, revision) = known;
            if found.runs != attempt.record.runs {
                // Another attempt has started, and may have counted this one as a crash: it stays in flight, so that
                // `roll_back_attempt` corrects that.
                return Ok(());
            }
            let failed = failure.map(|(problem, delay)| Failed {
                problem,
                objects: finished.outcome.objects(),
                ended: self.clock.now(),
                delay,
            });
            let record = record::end(found, finished.outcome.changed(), failed);
            if let Swap::Won(_) = self.bus.record_attempts(key, &record, revision).await? {
                break;
            }
            // The previous worker has rolled its attempt back in the meantime.
            known = self.bus.attempts(key).await?;
        }
        cx.in_flight.end();
        Ok(())
    }

    /// Rolls back an attempt that was abandoned or could not be settled: the process has not crashed, so the attempt must not
    /// count as a crash. Waits for the bus, whose outage is often the reason.
    pub(super) async fn roll_back_attempt(&self, in_flight: InFlight) {
        let Some((key, run)) = in_flight.0.into_inner().unwrap_or_else(PoisonError::into_inner) else { return };
        let roll_back = async || {
            loop {
                let (record, revision) = self.bus.attempts(&key).await?;
                let Some(record) = record::roll_back(record, run, &self.settings.worker) else { return Ok(()) };
                if let Swap::Won(_) = self.bus.record_attempts(&key, &record, revision).await? {
                    return Ok(());
                }
            }
        };
        for failures in 1..=ROLL_BACK_TRIES {
            let Err(error) = roll_back().await else { return };
            let error: bus::Error = error;
            tracing::debug!(command = %key, "cannot roll the attempt back; retrying: {error}");
            let pause = retry::IN_PLACE.delay(failures, None);
            tokio::select! { () = self.clock.sleep(pause) => {}, () = self.hand_back.cancelled() => return }
        }
        tracing::warn!(command = %key, "could not roll the attempt back; it counts as a crash");
    }

    /// Records that the attempt writes, before its first write. If the process crashes then, the result of the command says that
    /// the cluster may have changed.
    pub(super) async fn record_first_write(&self, key: &RecordKey, attempt: &Attempt, guard: &Guard) -> Infallible {
        guard.first_write().await;
        for failures in 1.. {
            match self.record_write_start(key, attempt).await {
                Ok(true) => guard.write_recorded(),
                Ok(false) => guard.lose_lease(),
                Err(error) => {
                    let error: bus::Error = error;
                    tracing::debug!(command = %key, "cannot record the first write; retrying: {error}");
                    self.clock.sleep(retry::IN_PLACE.delay(failures, None)).await;
                    continue;
                }
            }
            break;
        }
        std::future::pending().await
    }

    /// Lets other attempts start after the first seconds of this one. From then on, a crash of the process does not count
    /// against it.
    pub(super) async fn end_start_probation(
        &self,
        key: &RecordKey,
        attempt: &Attempt,
        start_permit: Option<StartPermit>,
    ) -> Infallible {
        tokio::time::sleep(PROBATION).await;
        if start_permit.as_ref().is_some_and(StartPermit::is_alone) {
            for failures in 1.. {
                let Err(error) = self.record_survival(key, attempt).await else { break };
                tracing::debug!(command = %key, "cannot record that the attempt has survived its first seconds; retrying: {error}");
                self.clock.sleep(retry::IN_PLACE.delay(failures, None)).await;
            }
        }
        drop(start_permit);
        std::future::pending().await
    }

    async fn record_survival(&self, key: &RecordKey, attempt: &Attempt) -> Result<(), bus::Error> {
        loop {
            let (record, revision) = self.bus.attempts(key).await?;
            if record.runs != attempt.record.runs || !record.in_progress || !record.isolated {
                return Ok(());
            }
            let record = AttemptRecord { isolated: false, ..record };
            if let Swap::Won(_) = self.bus.record_attempts(key, &record, revision).await? {
                return Ok(());
            }
        }
    }

    /// Waits until an attempt may start: alone, if the process crashed during an earlier one. `None` when other attempts start
    /// all the time.
    pub(super) async fn acquire_start_permit(
        &self,
        cx: &CommandContext<'_>,
    ) -> Result<Option<StartPermit>, bus::Error> {
        if cx.delivery.delivered > 1 {
            let (record, _) = self.bus.attempts(&cx.record_key()).await?;
            if record::is_suspect(&record) {
                return Ok(self.isolation.alone().await);
            }
        }
        Ok(Some(self.isolation.shared().await))
    }

    /// Records that the attempt writes. False when another attempt has started: then this one has lost its lease.
    async fn record_write_start(&self, key: &RecordKey, attempt: &Attempt) -> Result<bool, bus::Error> {
        let (mut record, mut revision) = (attempt.record.clone(), attempt.revision);
        while let Some(updated) = record::record_write_start(&record, attempt.record.runs) {
            if let Swap::Won(_) = self.bus.record_attempts(key, &updated, revision).await? {
                return Ok(true);
            }
            (record, revision) = self.bus.attempts(key).await?;
        }
        // The answer of a successful write may have been lost.
        Ok(record.runs == attempt.record.runs && record.in_progress)
    }
}
