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

    /// Binds target, source and id to this command before it waits, as the start of an attempt does. False when they belong to
    /// another command.
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
            let read_only = self.is_read_only(cx.task.verb());
            let bound = AttemptRecord { fingerprint: origin.fingerprint(), read_only, ..record };
            if let Swap::Won(_) = self.bus.record_attempts(&key, &bound, revision).await? {
                return Ok(true);
            }
            known = self.bus.attempts(&key).await?;
        }
    }

    /// Records the attempt before it starts, so that it counts even if the process crashes. A first delivery is expected to be a
    /// first attempt, which saves reading the record: otherwise the compare-and-swap fails.
    ///
    /// An attempt that is recorded as running has crashed if this message was delivered before. Otherwise a copy of the message
    /// is being executed.
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
            if is_reused(&before, origin) {
                return Ok(AttemptStart::IdReused);
            }
            if before.in_progress && self.bus.find_result(&origin.command()).await?.is_some() {
                return Ok(AttemptStart::AlreadyEnded);
            }
            if let Some(wait) = backoff_left(&before, self.clock.now()) {
                return Ok(AttemptStart::BackoffPending(wait));
            }
            let died = before.in_progress && cx.delivery.delivered > 1;
            let crashes = before.crashes + u32::from(died);
            let isolated_crashes = before.isolated_crashes + u32::from(died && before.isolated);
            let record = AttemptRecord {
                fingerprint: origin.fingerprint(),
                read_only: self.is_read_only(cx.task.verb()),
                attempts: before.attempts + 1,
                runs: before.runs + 1,
                first_started_s: if before.attempts == 0 {
                    self.clock.now().unix_timestamp()
                } else {
                    before.first_started_s
                },
                worker: self.settings.worker.clone(),
                in_progress: true,
                isolated: start_permit.is_alone(),
                crashes,
                isolated_crashes,
                changed: before.changed(),
                write_started: false,
                failed: before.failed.clone(),
                not_before_ms: None,
            };
            if isolated_crashes >= CRASHES_ALONE || crashes >= CRASHES {
                let record = AttemptRecord { crashes, isolated_crashes, ..before };
                return Ok(AttemptStart::Crashed(Attempt { record, revision, ..Attempt::default() }));
            }
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

    /// Records the end of the attempt, and when the next one is due. Without a failure the attempt does not count.
    pub(super) async fn close_attempt(
        &self,
        cx: &CommandContext<'_>,
        finished: &FinishedAttempt,
        failure: Option<(&Problem, Duration)>,
    ) -> Result<(), bus::Error> {
        let (attempt, key) = (&finished.attempt, &cx.record_key());
        let mut known = (attempt.record.clone(), attempt.revision);
        // Ends when no attempt was started, or another one runs by now.
        while known.1 != 0 && known.0.runs == attempt.record.runs {
            let (found, revision) = known;
            let changed = found.changed || outcome.changed;
            let mut record =
                AttemptRecord { in_progress: false, isolated: false, changed, write_started: false, ..found };
            if let Some((problem, delay)) = failure {
                let ended = event::rfc3339(self.clock.now());
                EarlierAttempt::new(record.attempts, &record.worker, ended, problem, &outcome.objects)
                    .add_to(&mut record.failed);
                record.not_before_ms = Some(milliseconds(self.clock.now() + delay));
            } else {
                record.attempts -= 1;
            }
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
                let Some(record) = record::take_back(record, run, &self.settings.worker) else { return Ok(()) };
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

    /// Runs the task until it ends or has to stop. Beside how it ended: whether it had begun to write.
    pub(super) async fn run_task(
        &self,
        cx: &CommandContext<'_>,
        params: Value,
        attempt: &mut Attempt,
        deadline: OffsetDateTime,
        held: Option<&mut HeldLease>,
    ) -> (TaskResult, bool) {
        let start_permit = attempt.start_permit.take();
        let attempt = &*attempt;
        let origin = &cx.command.origin;
        let fence = held.as_ref().map_or(0, |held| held.fence);
        let guard = Guard::new(self.clock.instant_of(deadline), fence, self.hand_back.clone()).requiring_write_record();
        if let Some(held) = held {
            held.keep(&guard, &self.settings.worker);
        }
        let (reporter, mut steps) = progress::pair();
        let (events, mut receiver) = task_events::pair();
        let context = TaskContext {
            key: origin.key.clone(),
            target: origin.target.to_string(),
            clusters: Arc::clone(&self.clusters),
            commands: Arc::new(TargetCommands { bus: Arc::clone(&self.bus), target: origin.target.clone() }),
            attachments: Arc::new(AttachmentStore(Arc::clone(&self.bus))),
            guard: guard.clone(),
            progress: Arc::new(reporter),
            events: Arc::new(events),
            clock: self.clock,
            attempt: attempt.record.attempts,
            generation: cx.command.generation,
        };
        let started = EventKind::Started(Started {
            verb: origin.verb.clone(),
            attempt: attempt.record.attempts,
            worker: self.settings.worker.clone(),
            deadline: event::rfc3339(deadline),
        });
        let cancelled = self.bus.control().listen(&origin.command());
        let (registry, verb) = (Arc::clone(&self.registry), cx.task.verb());
        let run = async move {
            match registry.get(verb) {
                Some(task) => task.run(&context, params).await,
                None => Err(Stop::Shutdown.into()), // looked up a moment ago, in the same registry
            }
        };
        let record_key = cx.record_key();
        let mut run = AssertUnwindSafe(run).catch_unwind().boxed();
        let ended = async {
            // What has nothing to wait for is not worth a task of the runtime, with its wake-ups of other threads.
            if let Poll::Ready(done) = poll_fn(|cx| Poll::Ready(run.as_mut().poll(cx))).await {
                return finished(done);
            }
            let run = tokio::spawn(run.in_current_span());
            tokio::select! {
                ended = until_done(run, &guard) => ended,
                never = forward_cancellation(&cancelled, &guard) => match never {},
                never = self.end_start_probation(&record_key, attempt, start_permit) => match never {},
                never = self.record_first_write(&record_key, attempt, &guard) => match never {},
                never = self.publish_progress(origin, attempt, &mut steps) => match never {},
                never = self.publish_task_events(origin, attempt, &mut receiver) => match never {},
            }
        };
        let publish_started = async {
            self.try_publish(origin, attempt, &started).await;
            reach(At::Started);
        };
        let ((), ended) = tokio::join!(publish_started, ended);
        self.bus.control().forget(&origin.command());
        if let Some(step) = steps.take_newest() {
            self.try_publish(origin, attempt, &EventKind::Progress(step)).await;
        }
        // One that slept past its lease may wake up to a time-out of its own, which is nobody's failure.
        let ended = match (ended, guard.check()) {
            (Err((_, report)), Err(Stop::LostLease)) => Err((task::Error::Stopped(Stop::LostLease).into(), report)),
            (ended, _) => ended,
        };
        (ended, guard.has_started_writing())
    }

    /// Notes on the bus that the attempt writes, before it does: if its process dies, the command's result tells so.
    async fn record_first_write(&self, key: &RecordKey, attempt: &Attempt, guard: &Guard) -> Infallible {
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
            if record.in_progress || record.crashes > 0 {
                return Ok(self.isolation.alone().await);
            }
        }
        Ok(Some(self.isolation.shared().await))
    }

    /// Records that the attempt writes. False when another attempt has started: then this one has lost its lease.
    async fn record_write_start(&self, key: &RecordKey, attempt: &Attempt) -> Result<bool, bus::Error> {
        let (mut record, mut revision) = (attempt.record.clone(), attempt.revision);
        while record.runs == attempt.record.runs && record.in_progress && !record.write_started {
            record.write_started = true;
            if let Swap::Won(_) = self.bus.record_attempts(key, &record, revision).await? {
                return Ok(true);
            }
            (record, revision) = self.bus.attempts(key).await?;
        }
        // An answer can be lost.
        Ok(record.runs == attempt.record.runs && record.in_progress)
    }

    async fn publish_task_events(
        &self,
        origin: &Origin,
        attempt: &Attempt,
        receiver: &mut task_events::EventReceiver,
    ) -> Infallible {
        loop {
            let (event, answer) = receiver.next().await;
            let kind = match event {
                TaskEvent::Found(found) => EventKind::Found(found),
                TaskEvent::Resolved(resolved) => EventKind::Resolved(resolved),
                TaskEvent::ConformanceCase(case) => EventKind::ConformanceCase(case),
                TaskEvent::ConformanceSpec(spec) => EventKind::ConformanceSpec(spec),
                TaskEvent::ConformanceSummary(summary) => EventKind::ConformanceSummary(summary),
                TaskEvent::Discovered(discovered) => EventKind::Discovered(discovered),
                TaskEvent::Changed(changed) => EventKind::Changed(changed),
                TaskEvent::Lost(lost) => EventKind::Lost(lost),
            };
            // Whoever does not wait for it any more has been told to stop.
            let _ = answer.send(self.publish_event(origin, attempt, &kind).await);
        }
    }

    async fn publish_progress(&self, origin: &Origin, attempt: &Attempt, steps: &mut ProgressSteps) -> Infallible {
        loop {
            let step = steps.next().await;
            self.try_publish(origin, attempt, &EventKind::Progress(step)).await;
        }
    }
}

fn milliseconds(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

/// Until the next attempt is due, if it is not.
fn backoff_left(record: &AttemptRecord, now: OffsetDateTime) -> Option<Duration> {
    let left = record.not_before_ms?.saturating_sub(milliseconds(now));
    u64::try_from(left).ok().filter(|left| *left > 0).map(Duration::from_millis)
}

/// The record without the run that `worker` abandoned; `None` when there is nothing to take back.
fn rolled_back(record: AttemptRecord, run: u32, worker: &str) -> Option<AttemptRecord> {
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

/// What a task may ask about other commands: those of its own target.
struct TargetCommands {
    bus: Arc<dyn Bus>,
    target: Target,
}

#[async_trait]
impl Commands for TargetCommands {
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
        Ok(Cancelled::Requested)
    }
}

/// Where a task's attachments go.
struct AttachmentStore(Arc<dyn Bus>);

#[async_trait]
impl Attachments for AttachmentStore {
    async fn attach(&self, json: Vec<u8>) -> Result<Attachment, PublishError> {
        let bytes = json.len();
        let kept = self.0.attach(json.into()).await;
        let dataref = kept.map_err(|error| PublishError { reason: Problem::new(&error).to_string() })?;
        Ok(Attachment { dataref, bytes })
    }
}

async fn forward_cancellation(cancelled: &CancellationToken, guard: &Guard) -> Infallible {
    cancelled.cancelled().await;
    guard.cancel();
    std::future::pending().await
}

/// Waits for the task. One that was told to stop may go on to its next safe point, and is dropped when it does not
/// reach one, though not in the middle of a write; without its lease it is dropped at once.
async fn until_done(mut run: JoinHandle<TaskExit>, guard: &Guard) -> TaskResult {
    let mut stopped = None;
    let joined = tokio::select! {
        joined = &mut run => joined,
        stop = guard.stopped() => {
            stopped = Some(stop);
            let patience = async {
                tokio::time::sleep(SAFE_POINT).await;
                guard.writes_finished().await;
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

fn finished(done: TaskExit) -> TaskResult {
    match done {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(Failure { error, report })) => Err((error.into(), report)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Err((Error::Panicked { message: text.unwrap_or("without a message").to_owned() }, None))
        }
    }
}
