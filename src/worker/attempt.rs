//! Records attempts on the bus: before an attempt starts, before its first write, and when it has ended.

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
use crate::bus::{self, AttemptRecord, Delivery, RecordKey, Swap};
use crate::error::{Code, Problem};
use crate::event::{Command, Origin};
use crate::guard::Guard;
use crate::retry;
use crate::task::{DynTask, Limits};

/// Tries to take an attempt back: some minutes, as a request to a bus that is away takes 10 s.
const ROLL_BACK_TRIES: u32 = 20;

/// A command that is being carried out.
pub(super) struct CommandContext<'a> {
    pub command: &'a Command,
    pub task: &'a dyn DynTask,
    pub delivery: &'a Delivery,
    pub received: Instant,
    pub in_flight: &'a InFlight,
}

impl CommandContext<'_> {
    /// Name of the command's attempt record.
    pub fn record_key(&self) -> RecordKey {
        RecordKey::command(&self.command.origin.command())
    }
}

/// Whether a record belongs to another command with the same target, source and id.
pub(super) fn is_reused(record: &AttemptRecord, origin: &Origin) -> bool {
    record::is_reused(record, origin.fingerprint().as_ref())
}

/// Which attempt a delivery has begun and neither ended nor handed back: its record and its run.
#[derive(Debug, Default)]
pub(super) struct InFlight(Mutex<Option<(RecordKey, u32)>>);

impl InFlight {
    /// One that begins now.
    pub fn begin(&self, key: &RecordKey, run: u32) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((key.clone(), run));
    }

    /// The attempt is over, and the bus knows.
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
    /// Held during the first seconds of the attempt.
    pub(super) start_permit: Option<StartPermit>,
}

/// Whether an attempt may begin.
pub(super) enum AttemptStart {
    /// It has.
    Started(Attempt),
    /// Somebody else began one in this moment.
    AlreadyRunning,
    /// The last one has failed, and the next is not due yet.
    BackoffPending(Duration),
    /// The command has ended since it was looked up.
    AlreadyEnded,
    /// The process died under the command too often.
    Crashed(Attempt),
    /// The record is that of another command with the same target, source and id.
    IdReused,
}

impl Attempt {
    /// Number of the attempt's next event.
    pub fn next_event(&self) -> u32 {
        self.events.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether the attempt before this one panicked.
    pub fn panicked_before(&self) -> bool {
        let last = self.record.failed.last().filter(|last| last.attempt + 1 == self.record.begun);
        last.is_some_and(|last| last.problem.code == Code::SH4001.as_str())
    }

    /// When the command must be done: its own expiry, or the verb's limit counted from its first attempt.
    pub fn deadline(&self, limits: Limits, expiry: Option<OffsetDateTime>) -> OffsetDateTime {
        let since = OffsetDateTime::from_unix_timestamp(self.record.since).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let limit = since + limits.deadline;
        expiry.map_or(limit, |expiry| expiry.min(limit))
    }
}

impl Engine {
    /// The attempt that was recorded last, for a command that gets no other.
    pub(super) async fn last_attempt(&self, cx: &CommandContext<'_>) -> Result<Attempt, bus::Error> {
        let (record, revision) = self.bus.attempts(&cx.record_key()).await?;
        Ok(Attempt { record, revision, ..Attempt::default() })
    }

    /// Binds target, source and id to this command before it waits, as an attempt does that begins. False when they are
    /// bound to another command.
    pub(super) async fn bind_id(&self, cx: &CommandContext<'_>) -> Result<bool, bus::Error> {
        let (key, origin) = (cx.record_key(), &cx.command.origin);
        let mut known = (AttemptRecord::default(), 0);
        if cx.delivery.delivered > 1 {
            known = self.bus.attempts(&key).await?;
        }
        loop {
            let (record, revision) = known;
            if record.fingerprint.is_some() {
                return Ok(!is_reused(&record, origin));
            }
            let brief = self.is_read_only(cx.task.verb());
            let bound = AttemptRecord { fingerprint: origin.fingerprint(), brief, ..record };
            if let Swap::Won(_) = self.bus.record_attempts(&key, &bound, revision).await? {
                return Ok(true);
            }
            known = self.bus.attempts(&key).await?;
        }
    }

    /// Writes the attempt before it begins, so that a process that dies has used it up. A first delivery is taken to
    /// be a first attempt, which saves reading: the swap tells when it was not.
    ///
    /// An attempt that is found open was a crash if this very message was delivered before; otherwise a copy of the
    /// message is being carried out beside it.
    pub(super) async fn begin_attempt(
        &self,
        cx: &CommandContext<'_>,
        start_permit: StartPermit,
    ) -> Result<AttemptStart, bus::Error> {
        let (key, origin) = (&cx.record_key(), &cx.command.origin);
        let mut known = (AttemptRecord::default(), 0);
        if cx.delivery.delivered > 1 {
            known = self.bus.attempts(key).await?;
        }
        for _ in 0..2 {
            let (before, revision) = known;
            let is_ours = !is_reused(&before, origin);
            if is_ours && before.open && self.bus.find_result(&origin.command()).await?.is_some() {
                return Ok(AttemptStart::AlreadyEnded);
            }
            let start = Start {
                fingerprint: origin.fingerprint(),
                brief: self.is_read_only(cx.task.verb()),
                worker: &self.settings.worker,
                alone: start_permit.is_alone(),
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
                    start_permit: Some(start_permit),
                    ..Attempt::default()
                }));
            }
            cx.in_flight.end();
            known = self.bus.attempts(key).await?;
        }
        Ok(AttemptStart::AlreadyRunning)
    }

    /// Notes that the attempt is over, and when the next is due. Without a failure it was handed back and does not count.
    pub(super) async fn close_attempt(
        &self,
        cx: &CommandContext<'_>,
        finished: &FinishedAttempt,
        failure: Option<(&Problem, Duration)>,
    ) -> Result<(), bus::Error> {
        let (attempt, key) = (&finished.attempt, &cx.record_key());
        let mut known = (attempt.record.clone(), attempt.revision);
        // None was begun, or another is under way by now.
        while known.1 != 0 && known.0.runs == attempt.record.runs {
            let (found, revision) = known;
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
            // Whoever had it before has said that it lives.
            known = self.bus.attempts(key).await?;
        }
        cx.in_flight.end();
        Ok(())
    }

    /// Takes back an attempt that was abandoned or could not be settled: the process has not died, so it must not count
    /// as a crash. The bus may be away, which is often the reason; it is waited for.
    pub(super) async fn roll_back_attempt(&self, in_flight: InFlight) {
        let Some((key, run)) = in_flight.0.into_inner().unwrap_or_else(PoisonError::into_inner) else { return };
        let roll_back = async || {
            loop {
                let (record, revision) = self.bus.attempts(&key).await?;
                let Some(record) = record::take_back(record, run, &self.settings.worker) else { return Ok(()) };
                if let Swap::Won(_) = self.bus.record_attempts(&key, &record, revision).await? {
                    return Ok(());
                }
            }
        };
        for failures in 1..=ROLL_BACK_TRIES {
            let Err(error) = roll_back().await else { return };
            let error: bus::Error = error;
            tracing::debug!(command = %key, "an attempt cannot be taken back yet: {error}");
            let pause = retry::IN_PLACE.delay(failures, None);
            tokio::select! { () = self.clock.sleep(pause) => {}, () = self.hand_back.cancelled() => return }
        }
        tracing::warn!(command = %key, "an attempt could not be taken back; it will count as a crash");
    }

    /// Notes on the bus that the attempt writes, before it does: if its process dies, the command's result tells so.
    pub(super) async fn record_first_write(&self, key: &RecordKey, attempt: &Attempt, guard: &Guard) -> Infallible {
        guard.first_write().await;
        for failures in 1.. {
            match self.record_write_start(key, attempt).await {
                Ok(true) => guard.write_recorded(),
                Ok(false) => guard.lose_lease(),
                Err(error) => {
                    let error: bus::Error = error;
                    tracing::debug!(command = %key, "a first write cannot be recorded yet: {error}");
                    self.clock.sleep(retry::IN_PLACE.delay(failures, None)).await;
                    continue;
                }
            }
            break;
        }
        std::future::pending().await
    }

    /// Lets other attempts begin when this one has survived its first seconds. From then on a death of the process is
    /// not counted against it.
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
                tracing::debug!(command = %key, "that an attempt goes on cannot be noted yet: {error}");
                self.clock.sleep(retry::IN_PLACE.delay(failures, None)).await;
            }
        }
        drop(start_permit);
        std::future::pending().await
    }

    async fn record_survival(&self, key: &RecordKey, attempt: &Attempt) -> Result<(), bus::Error> {
        loop {
            let (record, revision) = self.bus.attempts(key).await?;
            if record.runs != attempt.record.runs || !record.open || !record.alone {
                return Ok(());
            }
            let record = AttemptRecord { alone: false, ..record };
            if let Swap::Won(_) = self.bus.record_attempts(key, &record, revision).await? {
                return Ok(());
            }
        }
    }

    /// Waits for the right to begin an attempt: alone, if the process died under an earlier one. `None` when others
    /// begin all the time.
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

    /// False when another attempt has begun, which is told by nothing but the lease otherwise.
    async fn record_write_start(&self, key: &RecordKey, attempt: &Attempt) -> Result<bool, bus::Error> {
        let (mut record, mut revision) = (attempt.record.clone(), attempt.revision);
        while let Some(updated) = record::record_write_start(&record, attempt.record.runs) {
            if let Swap::Won(_) = self.bus.record_attempts(key, &updated, revision).await? {
                return Ok(true);
            }
            (record, revision) = self.bus.attempts(key).await?;
        }
        // An answer can be lost.
        Ok(record.runs == attempt.record.runs && record.open)
    }
}
