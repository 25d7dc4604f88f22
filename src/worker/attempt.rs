//! One attempt: counted on the bus before it begins, run under a guard, told to watchers.

use std::any::Any;
use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use serde_json::Value;
use time::OffsetDateTime;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::dispatch::Ending;
use super::isolation::{Beginning, PROBATION};
use super::lease::Held;
use super::notices;
use super::record::{self, Begin, Failed, Start};
use super::reporter::{self, Steps};
use super::{Engine, Error};
use crate::attachment::{Attachment, Attachments};
use crate::bus::{self, Attempts, Bus, Delivery, RecordKey, Swap};
use crate::error::{Code, Problem};
use crate::event::{self, Command, CommandId, CommandKey, EventKind, Origin, Started, Target};
use crate::failpoint::{Step as At, reach};
use crate::guard::{Guard, Stop};
use crate::notice::{Notice, Untold};
use crate::retry;
use crate::task::{self, Cancelled, Commands, DynTask, FailedReport, Failure, Limits, Outcome, TaskContext};

/// How long a task that was told to stop may take to reach a safe point.
pub(super) const SAFE_POINT: Duration = Duration::from_secs(10);

/// Tries to take an attempt back: some minutes, as a request to a bus that is away takes 10 s.
const DISOWN_TRIES: u32 = 20;

/// A command that is being carried out.
pub(super) struct Work<'a> {
    pub command: &'a Command,
    pub task: &'a dyn DynTask,
    pub delivery: &'a Delivery,
    pub received: Instant,
    pub under_way: &'a UnderWay,
}

impl Work<'_> {
    /// Name of the command's attempt record.
    pub fn record_key(&self) -> RecordKey {
        RecordKey::command(&self.command.origin.command())
    }
}

/// Whether a record belongs to another command with the same target, source and id.
pub(super) fn is_reused(record: &Attempts, origin: &Origin) -> bool {
    record::is_reused(record, origin.fingerprint().as_ref())
}

/// Which attempt a delivery has begun and neither ended nor handed back: its record and its run.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Mutex<Option<(RecordKey, u32)>>);

impl UnderWay {
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
    pub record: Attempts,
    revision: u64,
    events: AtomicU32,
    beginning: Option<Beginning>,
}

/// Whether an attempt may begin.
pub(super) enum Begun {
    /// It has.
    Now(Attempt),
    /// Somebody else began one in this moment.
    Elsewhere,
    /// The last one has failed, and the next is not due yet.
    TooEarly(Duration),
    /// The command has ended since it was looked up.
    Ended,
    /// The process died under the command too often.
    Crashed(Attempt),
    /// The record is that of another command with the same target, source and id.
    Reused,
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

/// What a task came to, or its panic.
type Caught = Result<Result<Outcome<Value>, Failure<Box<FailedReport>>>, Box<dyn Any + Send>>;

/// A failed task may have a report too.
type Ended = Result<Outcome<Value>, (Error, Option<Outcome<Box<FailedReport>>>)>;

impl Engine {
    /// The attempt that was recorded last, for a command that gets no other.
    pub(super) async fn last_attempt(&self, work: &Work<'_>) -> Result<Attempt, bus::Error> {
        let (record, revision) = self.bus.attempts(&work.record_key()).await?;
        Ok(Attempt { record, revision, ..Attempt::default() })
    }

    /// Binds target, source and id to this command before it waits, as an attempt does that begins. False when they are
    /// bound to another command.
    pub(super) async fn bind(&self, work: &Work<'_>) -> Result<bool, bus::Error> {
        let (key, origin) = (work.record_key(), &work.command.origin);
        let mut known = (Attempts::default(), 0);
        if work.delivery.delivered > 1 {
            known = self.bus.attempts(&key).await?;
        }
        loop {
            let (record, revision) = known;
            if record.fingerprint.is_some() {
                return Ok(!is_reused(&record, origin));
            }
            let brief = self.is_brief(work.task.verb());
            let bound = Attempts { fingerprint: origin.fingerprint(), brief, ..record };
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
    pub(super) async fn begin_attempt(&self, work: &Work<'_>, beginning: Beginning) -> Result<Begun, bus::Error> {
        let (key, origin) = (&work.record_key(), &work.command.origin);
        let mut known = (Attempts::default(), 0);
        if work.delivery.delivered > 1 {
            known = self.bus.attempts(key).await?;
        }
        for _ in 0..2 {
            let (before, revision) = known;
            let is_ours = !is_reused(&before, origin);
            if is_ours && before.open && self.bus.find_result(&origin.command()).await?.is_some() {
                return Ok(Begun::Ended);
            }
            let start = Start {
                fingerprint: origin.fingerprint(),
                brief: self.is_brief(work.task.verb()),
                worker: &self.settings.worker,
                alone: beginning.is_alone(),
                redelivered: work.delivery.delivered > 1,
                now: self.clock.now(),
            };
            let record = match record::begin(&before, &start) {
                Begin::Attempt(record) => record,
                Begin::TooEarly(wait) => return Ok(Begun::TooEarly(wait)),
                Begin::Reused => return Ok(Begun::Reused),
                Begin::Crashed(record) => {
                    return Ok(Begun::Crashed(Attempt { record, revision, ..Attempt::default() }));
                }
            };
            work.under_way.begin(key, record.runs);
            if let Swap::Won(revision) = self.bus.record_attempts(key, &record, revision).await? {
                return Ok(Begun::Now(Attempt { record, revision, beginning: Some(beginning), ..Attempt::default() }));
            }
            work.under_way.end();
            known = self.bus.attempts(key).await?;
        }
        Ok(Begun::Elsewhere)
    }

    /// Notes that the attempt is over, and when the next is due. Without a failure it was handed back and does not count.
    pub(super) async fn close_attempt(
        &self,
        work: &Work<'_>,
        ending: &Ending,
        failure: Option<(&Problem, Duration)>,
    ) -> Result<(), bus::Error> {
        let (attempt, key) = (&ending.attempt, &work.record_key());
        let mut known = (attempt.record.clone(), attempt.revision);
        // None was begun, or another is under way by now.
        while known.1 != 0 && known.0.runs == attempt.record.runs {
            let (found, revision) = known;
            let failed = failure.map(|(problem, delay)| Failed {
                problem,
                objects: &ending.objects,
                ended: self.clock.now(),
                delay,
            });
            let record = record::end(found, ending.changed, failed);
            if let Swap::Won(_) = self.bus.record_attempts(key, &record, revision).await? {
                break;
            }
            // Whoever had it before has said that it lives.
            known = self.bus.attempts(key).await?;
        }
        work.under_way.end();
        Ok(())
    }

    /// Takes back an attempt that was abandoned or could not be settled: the process has not died, so it must not count
    /// as a crash. The bus may be away, which is often the reason; it is waited for.
    pub(super) async fn disown_attempt(&self, under_way: UnderWay) {
        let Some((key, run)) = under_way.0.into_inner().unwrap_or_else(PoisonError::into_inner) else { return };
        let disown = async || {
            loop {
                let (record, revision) = self.bus.attempts(&key).await?;
                let Some(record) = record::take_back(record, run, &self.settings.worker) else { return Ok(()) };
                if let Swap::Won(_) = self.bus.record_attempts(&key, &record, revision).await? {
                    return Ok(());
                }
            }
        };
        for failures in 1..=DISOWN_TRIES {
            let Err(error) = disown().await else { return };
            let error: bus::Error = error;
            tracing::debug!(command = %key, "an attempt cannot be taken back yet: {error}");
            let pause = retry::IN_PLACE.delay(failures, None);
            tokio::select! { () = self.clock.sleep(pause) => {}, () = self.leave.cancelled() => return }
        }
        tracing::warn!(command = %key, "an attempt could not be taken back; it will count as a crash");
    }

    /// Runs the task until it ends or has to stop. Beside how it ended: whether it had begun to write.
    pub(super) async fn run_task(
        &self,
        work: &Work<'_>,
        params: Value,
        attempt: &mut Attempt,
        deadline: OffsetDateTime,
        held: Option<&mut Held>,
    ) -> (Ended, bool) {
        let beginning = attempt.beginning.take();
        let attempt = &*attempt;
        let origin = &work.command.origin;
        let fence = held.as_ref().map_or(0, |held| held.fence);
        let guard = Guard::new(self.clock.instant_of(deadline), fence, self.leave.clone()).announcing();
        if let Some(held) = held {
            held.keep(&guard, &self.settings.worker);
        }
        let (reporter, mut steps) = reporter::pair();
        let (notices, mut noted) = notices::pair();
        let context = TaskContext {
            key: origin.key.clone(),
            target: origin.target.to_string(),
            clusters: Arc::clone(&self.clusters),
            commands: Arc::new(OnTarget { bus: Arc::clone(&self.bus), target: origin.target.clone() }),
            attachments: Arc::new(Kept(Arc::clone(&self.bus))),
            guard: guard.clone(),
            progress: Arc::new(reporter),
            notices: Arc::new(notices),
            clock: self.clock,
            attempt: attempt.record.begun,
            generation: work.command.generation,
        };
        let started = EventKind::Started(Started {
            verb: origin.verb.clone(),
            attempt: attempt.record.begun,
            worker: self.settings.worker.clone(),
            deadline: event::rfc3339(deadline),
        });
        let cancelled = self.bus.control().listen(&origin.command());
        let (registry, verb) = (Arc::clone(&self.registry), work.task.verb());
        let run = async move {
            match registry.get(verb) {
                Some(task) => task.run(&context, params).await,
                None => Err(Stop::Shutdown.into()), // looked up a moment ago, in the same registry
            }
        };
        let record_key = work.record_key();
        let mut run = AssertUnwindSafe(run).catch_unwind().boxed();
        let ended = async {
            // What has nothing to wait for is not worth a task of the runtime, with its wake-ups of other threads.
            if let Poll::Ready(done) = poll_fn(|cx| Poll::Ready(run.as_mut().poll(cx))).await {
                return finished(done);
            }
            let run = tokio::spawn(run.in_current_span());
            tokio::select! {
                ended = until_done(run, &guard) => ended,
                never = pass_on(&cancelled, &guard) => match never {},
                never = self.end_probation(&record_key, attempt, beginning) => match never {},
                never = self.announce(&record_key, attempt, &guard) => match never {},
                never = self.tell_steps(origin, attempt, &mut steps) => match never {},
                never = self.tell_notices(origin, attempt, &mut noted) => match never {},
            }
        };
        let tell = async {
            self.tell(origin, attempt, &started).await;
            reach(At::Started);
        };
        let ((), ended) = tokio::join!(tell, ended);
        self.bus.control().forget(&origin.command());
        if let Some(step) = steps.untold() {
            self.tell(origin, attempt, &EventKind::Progress(step)).await;
        }
        // One that slept past its lease may wake up to a time-out of its own, which is nobody's failure.
        let ended = match (ended, guard.check()) {
            (Err((_, report)), Err(Stop::LostLease)) => Err((task::Error::Stopped(Stop::LostLease).into(), report)),
            (ended, _) => ended,
        };
        (ended, guard.has_begun_to_write())
    }

    /// Notes on the bus that the attempt writes, before it does: if its process dies, the command's result tells so.
    async fn announce(&self, key: &RecordKey, attempt: &Attempt, guard: &Guard) -> Infallible {
        guard.first_write().await;
        for failures in 1.. {
            match self.note_writing(key, attempt).await {
                Ok(true) => guard.announced(),
                Ok(false) => guard.lose_lease(),
                Err(error) => {
                    let error: bus::Error = error;
                    tracing::debug!(command = %key, "a first write cannot be noted yet: {error}");
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
    async fn end_probation(&self, key: &RecordKey, attempt: &Attempt, beginning: Option<Beginning>) -> Infallible {
        tokio::time::sleep(PROBATION).await;
        if beginning.as_ref().is_some_and(Beginning::is_alone) {
            for failures in 1.. {
                let Err(error) = self.note_survival(key, attempt).await else { break };
                tracing::debug!(command = %key, "that an attempt goes on cannot be noted yet: {error}");
                self.clock.sleep(retry::IN_PLACE.delay(failures, None)).await;
            }
        }
        drop(beginning);
        std::future::pending().await
    }

    async fn note_survival(&self, key: &RecordKey, attempt: &Attempt) -> Result<(), bus::Error> {
        loop {
            let (record, revision) = self.bus.attempts(key).await?;
            if record.runs != attempt.record.runs || !record.open || !record.alone {
                return Ok(());
            }
            let record = Attempts { alone: false, ..record };
            if let Swap::Won(_) = self.bus.record_attempts(key, &record, revision).await? {
                return Ok(());
            }
        }
    }

    /// Waits for the right to begin an attempt: alone, if the process died under an earlier one. `None` when others
    /// begin all the time.
    pub(super) async fn begin_beside_others(&self, work: &Work<'_>) -> Result<Option<Beginning>, bus::Error> {
        if work.delivery.delivered > 1 {
            let (record, _) = self.bus.attempts(&work.record_key()).await?;
            if record::is_suspect(&record) {
                return Ok(self.isolation.alone().await);
            }
        }
        Ok(Some(self.isolation.shared().await))
    }

    /// False when another attempt has begun, which is told by nothing but the lease otherwise.
    async fn note_writing(&self, key: &RecordKey, attempt: &Attempt) -> Result<bool, bus::Error> {
        let (mut record, mut revision) = (attempt.record.clone(), attempt.revision);
        while let Some(noted) = record::note_writing(&record, attempt.record.runs) {
            if let Swap::Won(_) = self.bus.record_attempts(key, &noted, revision).await? {
                return Ok(true);
            }
            (record, revision) = self.bus.attempts(key).await?;
        }
        // An answer can be lost.
        Ok(record.runs == attempt.record.runs && record.open)
    }

    async fn tell_notices(&self, origin: &Origin, attempt: &Attempt, noted: &mut notices::Noted) -> Infallible {
        loop {
            let (notice, answer) = noted.next().await;
            let kind = match notice {
                Notice::Found(found) => EventKind::Found(found),
                Notice::Resolved(resolved) => EventKind::Resolved(resolved),
                Notice::ConformanceCase(case) => EventKind::ConformanceCase(case),
                Notice::ConformanceSpec(spec) => EventKind::ConformanceSpec(spec),
                Notice::ConformanceSummary(summary) => EventKind::ConformanceSummary(summary),
                Notice::Discovered(discovered) => EventKind::Discovered(discovered),
                Notice::Changed(changed) => EventKind::Changed(changed),
                Notice::Lost(lost) => EventKind::Lost(lost),
            };
            // Whoever does not wait for it any more has been told to stop.
            let _ = answer.send(self.publish(origin, attempt, &kind).await);
        }
    }

    async fn tell_steps(&self, origin: &Origin, attempt: &Attempt, steps: &mut Steps) -> Infallible {
        loop {
            let step = steps.next().await;
            self.tell(origin, attempt, &EventKind::Progress(step)).await;
        }
    }
}

/// What a task may ask about other commands: those of its own target.
struct OnTarget {
    bus: Arc<dyn Bus>,
    target: Target,
}

#[async_trait]
impl Commands for OnTarget {
    async fn cancel(&self, key: &CommandKey, by: &str) -> Result<Cancelled, task::Error> {
        let failed = |error: bus::Error| task::Error::Commands { reason: Problem::new(&error).to_string() };
        let command = CommandId::new(&self.target, key);
        if self.bus.find_result(&command).await.map_err(failed)?.is_some() {
            return Ok(Cancelled::Ended);
        }
        if self.bus.control().is_cancelled(&command) {
            return Ok(Cancelled::Already);
        }
        self.bus.cancel(&command, by).await.map_err(failed)?;
        Ok(Cancelled::Asked)
    }
}

/// Where a task's attachments go.
struct Kept(Arc<dyn Bus>);

#[async_trait]
impl Attachments for Kept {
    async fn attach(&self, json: Vec<u8>) -> Result<Attachment, Untold> {
        let bytes = json.len();
        let kept = self.0.attach(json.into()).await;
        let dataref = kept.map_err(|error| Untold { reason: Problem::new(&error).to_string() })?;
        Ok(Attachment { dataref, bytes })
    }
}

async fn pass_on(cancelled: &CancellationToken, guard: &Guard) -> Infallible {
    cancelled.cancelled().await;
    guard.cancel();
    std::future::pending().await
}

/// Waits for the task. One that was told to stop may go on to its next safe point, and is dropped when it does not
/// reach one, though not in the middle of a write; without its lease it is dropped at once.
async fn until_done(mut run: JoinHandle<Caught>, guard: &Guard) -> Ended {
    let mut stopped = None;
    let joined = tokio::select! {
        joined = &mut run => joined,
        stop = guard.stopped() => {
            stopped = Some(stop);
            let patience = async {
                tokio::time::sleep(SAFE_POINT).await;
                guard.written().await;
            };
            tokio::select! {
                biased;
                joined = &mut run => joined,
                () = guard.lease_lost() => {
                    stopped = Some(Stop::LostLease);
                    run.abort();
                    run.await
                }
                () = patience => {
                    run.abort();
                    run.await
                }
            }
        }
    };
    match joined {
        Ok(done) => finished(done),
        Err(_) => Err((task::Error::Stopped(stopped.unwrap_or(Stop::Shutdown)).into(), None)), // dropped
    }
}

fn finished(done: Caught) -> Ended {
    match done {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(Failure { error, report })) => Err((error.into(), report)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Err((Error::Panicked { message: text.unwrap_or("without a message").to_owned() }, None))
        }
    }
}
