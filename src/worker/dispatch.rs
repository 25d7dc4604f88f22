//! Executes one command, from the receipt of its message to the end of the attempt: decode, look for a result, admit,
//! acquire the lease, record the attempt, run the task under the guard. Then `conclude.rs` settles the message.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument;

use super::attempt::{Attempt, AttemptStart, CommandContext, InFlight, is_reused};
use super::decode_guard::{Decoded, DecodedCommand, FetchedParams, Params};
use super::heartbeat;
use super::isolation::StartPermit;
use super::lease::HeldLease;
use super::run::TaskFailure;
use super::{Engine, Error};
use crate::bus::{self, Delivery, LeaseName};
use crate::error::{Class, Classify, Code};
use crate::event::{self, AttemptedObject, Command};
use crate::failpoint::{Step, reach};
use crate::task::Outcome;

/// How an attempt ended.
pub(super) enum AttemptOutcome {
    /// The task succeeded.
    Succeeded {
        /// Whether it wrote to the cluster.
        changed: bool,
        /// Its report.
        report: serde_json::Value,
    },
    /// The task failed, panicked or was stopped.
    Failed {
        /// Why.
        error: Error,
        /// Whether it wrote to the cluster. True when that is not known.
        changed: bool,
        /// Its report, if it has one.
        report: Option<serde_json::Value>,
        /// Objects that it wrote, deleted or failed to write.
        objects: Vec<AttemptedObject>,
    },
    /// The task did not run.
    NotRun(Error),
}

impl AttemptOutcome {
    /// Why the attempt failed; `None` after a success.
    pub const fn error(&self) -> Option<&Error> {
        match self {
            Self::Succeeded { .. } => None,
            Self::Failed { error, .. } | Self::NotRun(error) => Some(error),
        }
    }

    /// Whether the task wrote to the cluster.
    pub const fn changed(&self) -> bool {
        match self {
            Self::Succeeded { changed, .. } | Self::Failed { changed, .. } => *changed,
            Self::NotRun(_) => false,
        }
    }

    /// Objects of a failed attempt.
    pub fn objects(&self) -> &[AttemptedObject] {
        match self {
            Self::Failed { objects, .. } => objects,
            Self::Succeeded { .. } | Self::NotRun(_) => &[],
        }
    }
}

/// The end of an attempt, with what its settlement needs.
pub(super) struct FinishedAttempt {
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// The attempt. The one recorded last when none has started; an empty record when it was not read.
    pub attempt: Attempt,
    /// Fence of the lease; 0 for an attempt without a lease.
    pub fence: u64,
    /// Until the deadline of the command; [`Duration::MAX`] when the task did not run.
    pub time_left: Duration,
}

impl FinishedAttempt {
    /// An attempt whose task did not run.
    fn not_run(error: impl Into<Error>, attempt: Attempt) -> Executed {
        let outcome = AttemptOutcome::NotRun(error.into());
        Executed::Finished(Box::new(Self { outcome, attempt, fence: 0, time_left: Duration::MAX }))
    }

    /// A delivery for which no attempt has started.
    fn not_started(error: impl Into<Error>) -> Executed {
        Self::not_run(error, Attempt::default())
    }
}

/// What remains to be done with a command after [`Engine::execute`].
enum Executed {
    /// Settle it by the end of the attempt.
    Finished(Box<FinishedAttempt>),
    /// It has a result: acknowledge the message.
    AlreadyEnded,
    /// Reject it: its stored parameters do not exist or are not valid.
    Rejected(Error),
    /// Reject it: its target, source and id belong to another command.
    IdReused,
    /// Nothing: its message is settled.
    Settled,
}

/// Whether a command ends without an attempt.
enum EarlyEnd {
    /// No.
    No,
    /// Yes: it has expired or was cancelled, and no attempt runs.
    Now(Error, Attempt),
    /// Yes, but an attempt runs, or its process has crashed. A running attempt ends the command, with its report. It
    /// holds the lease, so this delivery ends the command after it has acquired the lease.
    WithLease(Error),
    /// Its target, source and id belong to another command.
    IdReused,
}

impl Engine {
    /// Processes a delivery. Does not fail: the bus delivers again what cannot be settled.
    pub(super) async fn handle(self: Arc<Self>, delivery: Delivery) {
        let received = Instant::now();
        self.metrics.in_flight.inc();
        let in_flight = InFlight::default();
        // On the heap, because each spawn moves its future more than once.
        let processed = Box::pin(self.process(&delivery, &in_flight, received));
        let processed = heartbeat::beside(&delivery, self.settings.ack_wait, processed).await;
        if let Err(error) = processed {
            self.bus_failed("the message is not settled; the bus delivers it again", &error);
        }
        // Without a heartbeat, so that the bus can deliver the message to another worker in the meantime.
        self.roll_back_attempt(in_flight).await;
        self.metrics.in_flight.dec();
    }

    /// Decodes the message, then executes and settles its command in a span of its trace.
    async fn process(&self, delivery: &Delivery, in_flight: &InFlight, received: Instant) -> Result<(), bus::Error> {
        let mut decoded = match self.decode_delivery(delivery, in_flight, received).await? {
            Decoded::Command(decoded) => *decoded,
            Decoded::Rejected(rejected) => {
                return self.reject(delivery, rejected.sender.as_deref(), rejected.error, received).await;
            }
            Decoded::Settled => return Ok(()),
        };
        reach(Step::Decoded);
        let origin = &decoded.command.origin;
        if let Some(found) = self.bus.find_result(&origin.command()).await? {
            return if found.fingerprint == origin.fingerprint() {
                self.settle_duplicate(delivery).await
            } else {
                self.reject_reused_id(delivery, origin, received).await
            };
        }
        reach(Step::LookedUp);
        let span = span(&decoded);
        async {
            continue_trace(&mut decoded.command);
            let DecodedCommand { command, task, params } = decoded;
            let cx = CommandContext { command: &command, task, delivery, received, in_flight };
            self.execute_and_settle(&cx, params).await
        }
        .instrument(span.clone())
        .await
    }

    async fn execute_and_settle(&self, cx: &CommandContext<'_>, params: Option<Params>) -> Result<(), bus::Error> {
        let &CommandContext { command, delivery, received, .. } = cx;
        // Held until the message is settled, so that a copy of the message that is delivered next finds the result. After
        // an error the lease expires.
        let mut lease = None;
        match self.execute(cx, params, &mut lease).await? {
            Executed::Finished(finished) => self.settle(cx, *finished, lease).await,
            Executed::AlreadyEnded => self.release_and(lease, self.settle_duplicate(delivery)).await,
            Executed::Rejected(error) => self.reject(delivery, Some(&command.origin), error, received).await,
            Executed::IdReused => {
                self.release_and(lease, self.reject_reused_id(delivery, &command.origin, received)).await
            }
            Executed::Settled => Ok(()),
        }
    }

    /// Admits the command, fetches its parameters, acquires its lease, records the attempt and runs the task.
    async fn execute(
        &self,
        cx: &CommandContext<'_>,
        params: Option<Params>,
        held: &mut Option<HeldLease>,
    ) -> Result<Executed, crate::bus::Error> {
        let Command { origin, expiry, dataref, .. } = cx.command;
        let given_up = match expiry.filter(|expiry| *expiry <= self.clock.now()) {
            Some(expiry) => Some(Error::Expired { deadline: event::rfc3339(expiry) }),
            None if self.bus.control().is_cancelled(&origin.command()) => Some(Error::Cancelled),
            None => None,
        };
        // A copy of the message may be carried out right now. Then that one ends the command, with its report: its
        // lease keeps this one from it.
        let given_up = match given_up {
            None => None,
            Some(error) => {
                let attempt = self.last_attempt(cx).await?;
                if is_reused(&attempt.record, origin) {
                    return Ok(Executed::IdReused);
                }
                if !attempt.record.in_progress {
                    return Ok(AttemptOutcome { attempt, ..AttemptOutcome::failed(error) }.into());
                }
                Some(error)
            }
        };
        let target = origin.target.as_str();
        let saturated = || Error::TargetSaturated { target: target.to_owned() };
        if end_with_lease.is_none() && self.bus.control().is_paused(target) {
            return self.wait(cx, Error::Paused { target: target.to_owned() }).await;
        }
        let Some(_slot) = self.target_limiter.acquire(target, cx.task.slot_class()).await else {
            return self.wait(cx, saturated()).await;
        };
        // The size of an object is not known before it is read.
        let most = if params.is_none() { event::dataref::MAX_BYTES } else { cx.delivery.payload.len() };
        let Some(mut memory) = self.params_memory.reserve(most) else {
            return self.wait(cx, Error::ParamsMemoryExhausted).await;
        };
        let params = match params {
            Some(params) => params,
            None => match self.fetch_params(cx, dataref.as_deref().unwrap_or_default()).await? {
                FetchedParams::Valid(params, bytes) => {
                    memory.shrink(bytes);
                    params
                }
                FetchedParams::Rejected(error) => return Ok(Executed::Rejected(error)),
                FetchedParams::Settled => return Ok(Executed::Settled),
            },
        };
        // Before the lease, because no task renews it yet.
        let Some(start_permit) = self.acquire_start_permit(cx).await? else {
            return self.wait(cx, saturated()).await;
        };
        if let Some(installation) = params.installation.clone() {
            let name = LeaseName { target: origin.target.clone(), installation: installation.clone() };
            *lease = HeldLease::acquire(&self.bus, &name, &self.settings.worker, self.settings.lease_ttl).await?;
            if lease.is_none() {
                self.metrics.lease_waits.inc();
                return self.wait(cx, Error::Busy { installation }).await;
            }
            reach(Step::Leased);
        }
        if let Some(error) = end_with_lease {
            // The process of the attempt has crashed. Its changes are not undone: the result lists the attempts.
            let attempt = self.last_attempt(cx).await?;
            return Ok(FinishedAttempt::not_run(error, attempt));
        }
        self.attempt(cx, params.value, start_permit, lease.as_mut()).await
    }

    /// Whether the command ends before an attempt, because it has expired or was cancelled.
    async fn early_end(&self, cx: &CommandContext<'_>) -> Result<EarlyEnd, bus::Error> {
        let Command { origin, expiry, .. } = cx.command;
        let error = match expiry.filter(|expiry| *expiry <= self.clock.now()) {
            Some(expiry) => Error::Expired { deadline: event::rfc3339(expiry) },
            None if self.bus.control().is_cancelled(&origin.command()) => Error::Cancelled,
            None => return Ok(EarlyEnd::No),
        };
        let attempt = self.last_attempt(cx).await?;
        Ok(if is_reused(&attempt.record, origin) {
            EarlyEnd::IdReused
        } else if attempt.record.in_progress {
            EarlyEnd::WithLease(error)
        } else {
            EarlyEnd::Now(error, attempt)
        })
    }

    /// The command cannot start yet. From now on, its target, source and id belong to it.
    async fn wait(&self, cx: &CommandContext<'_>, error: Error) -> Result<Executed, bus::Error> {
        Ok(if self.bind_id(cx).await? { FinishedAttempt::not_started(error) } else { Executed::IdReused })
    }

    /// Records the attempt and runs the task.
    async fn attempt(
        &self,
        cx: &CommandContext<'_>,
        params: serde_json::Value,
        start_permit: StartPermit,
        mut held: Option<&mut HeldLease>,
    ) -> Result<Executed, crate::bus::Error> {
        let limits = cx.task.limits_for(&params);
        let mut begun = match self.begin_attempt(cx, start_permit).await? {
            attempt::AttemptStart::Started(attempt) => attempt,
            attempt::AttemptStart::BackoffPending(wait) => {
                return Ok(AttemptOutcome {
                    wait: Some(wait),
                    ..AttemptOutcome::failed(Error::BackoffPending { wait })
                }
                .into());
            }
            attempt::AttemptStart::AlreadyRunning => return Ok(AttemptOutcome::failed(Error::AlreadyRunning).into()),
            attempt::AttemptStart::AlreadyEnded => return Ok(Executed::AlreadyEnded),
            attempt::AttemptStart::IdReused => return Ok(Executed::IdReused),
            attempt::AttemptStart::Crashed(attempt) => {
                let times = attempt.record.crashes;
                return Ok(AttemptOutcome { attempt, ..AttemptOutcome::failed(Error::Crashes { times }) }.into());
            }
        };
        reach(Step::Recorded);
        let deadline = attempt.deadline(limits, cx.command.expiry);
        if deadline <= self.clock.now() {
            let error = Error::Expired { deadline: event::rfc3339(deadline) };
            return Ok(AttemptOutcome { attempt: attempts, ..AttemptOutcome::failed(error) }.into());
        }
        let fence = held.as_ref().map_or(0, |held| held.fence);
        let (ended, wrote) = self.run_task(cx, params, &mut attempts, deadline, held.as_deref_mut()).await;
        reach(Step::TaskEnded);
        let time_left = Duration::try_from(deadline - self.clock.now()).unwrap_or_default();
        let outcome = match result {
            Ok(outcome) => {
                let (changed, report) = outcome.into_parts();
                AttemptOutcome::Succeeded { changed, report }
            }
            Err(failure) => self.failed_attempt(failure, wrote, lease).await?,
        };
        // One that panicked, was dropped or had no answer cannot say what came of its last write.
        let in_doubt = wrote && error.as_ref().is_some_and(Error::may_have_written);
        let changed = changed || in_doubt;
        Ok(AttemptOutcome { report, objects, changed, error, attempt: attempts, fence, left, wait: None }.into())
    }

    /// The outcome of a task that failed. `wrote` says whether it had started to write.
    async fn failed_attempt(
        &self,
        failure: TaskFailure,
        wrote: bool,
        lease: Option<&mut HeldLease>,
    ) -> Result<AttemptOutcome, bus::Error> {
        let error = self.check_lost_lease(failure.error, lease).await?;
        let (changed, report) = failure.done.map(Outcome::into_parts).unzip();
        let (report, objects) = report.map(|report| (report.json, report.objects)).unzip();
        // A task that panicked, was dropped or got no answer does not know whether its last write arrived.
        let changed = changed.unwrap_or_default() || wrote && error.may_have_written();
        Ok(AttemptOutcome::Failed { error, changed, report, objects: objects.unwrap_or_default() })
    }

    /// The error of a task. When the cluster reports that the lease is lost, the bus decides: while the lease is still held
    /// there, no other worker would end the command.
    async fn check_lost_lease(&self, error: Error, lease: Option<&mut HeldLease>) -> Result<Error, bus::Error> {
        if error.class() != Class::LostLease || error.code() != Code::SH3015 {
            return Ok(error);
        }
        let Some(lease) = lease else { return Ok(error) };
        if !lease.is_held(&self.settings.worker).await? {
            return Ok(error);
        }
        Ok(Error::ForeignFence { fence: held.fence, cause: Box::new(error) })
    }

    /// Decides what becomes of the command, and does that.
    async fn conclude(
        &self,
        cx: &CommandContext<'_>,
        ending: AttemptOutcome,
        held: Option<HeldLease>,
    ) -> Result<(), crate::bus::Error> {
        let &CommandContext { command, task, delivery, received, .. } = cx;
        let origin = &command.origin;
        let number = ending.attempt.record.attempts;
        let end = match &ending.error {
            None => AttemptEnd::Succeeded,
            Some(Error::Crashes { .. }) => AttemptEnd::Crashed,
            Some(Error::Panicked { .. }) => AttemptEnd::Panicked(1 + u32::from(ending.attempt.panicked_before())),
            Some(error) => AttemptEnd::Failed(error.class()),
        };
        if let Some(error) = &ending.error {
            self.metrics.task_errors.get_or_create(&ErrorCode { code: Word(error.code().as_str()) }).inc();
        }
        let input = SettleInput {
            attempt: number,
            attempts: task.limits().attempts,
            left: ending.left,
            delivered: delivery.delivered,
            wait: ending.wait,
        };
        let verb = VerbLabel { verb: Word(task.verb()) };
        match decide(end, input) {
            Decision::Conclude { outcome, dead } => {
                let error = match ending.error {
                    Some(error) if dead == Some(DeadReason::Exhausted) && number > 1 => Some(error.exhausted(number)),
                    other => other,
                };
                let problem = error.as_ref().map(|error| Problem::new(error));
                if let (Some(reason), Some(problem)) = (dead, &problem) {
                    self.publish_dead_letter(delivery, Some(origin), reason, problem).await?;
                }
                let result = ResultData {
                    outcome,
                    changed: ending.changed || ending.attempt.record.changed(),
                    report: ending.report,
                    error: problem,
                    attempts: number,
                    earlier_attempts: ending.attempt.record.failed,
                    fence: ending.fence,
                    worker: self.settings.worker.clone(),
                    ended: event::rfc3339(self.clock.now()),
                };
                self.commit(origin, &result).await?;
                cx.in_flight.end();
                self.release_and(held, delivery.acker.settle(Settlement::Ack)).await?;
                self.metrics.ended(task.verb(), outcome.as_str(), received.elapsed());
                let outcome = outcome.as_str();
                match &result.error {
                    Some(problem) => {
                        tracing::warn!(outcome, attempt = number, code = problem.code, "command ended: {problem}");
                    }
                    None if result.changed => {
                        tracing::info!(outcome, attempt = number, "command ended, the cluster changed");
                    }
                    // Its result says so too, and there may be thousands in a second.
                    None => tracing::debug!(outcome, attempt = number, "command ended, nothing had to change"),
                }
                Ok(())
            }
            Decision::Retry(delay) => {
                self.record_retry(cx, &ending, delay).await?;
                self.metrics.retries.get_or_create(&verb).inc();
                self.release_and(held, self.requeue(cx, delay)).await
            }
            Decision::Requeue(delay) => {
                self.close_attempt(cx, &ending, None).await?;
                self.release_and(held, self.requeue(cx, delay)).await
            }
            Decision::RequeueInTurn(least) => {
                self.close_attempt(cx, &ending, None).await?;
                let delay = match &ending.error {
                    Some(Error::Busy { installation }) => {
                        self.requeue_pacer.turn_delay(&format!("{}/{installation}", origin.target), least)
                    }
                    _ => self.requeue_pacer.turn_delay(origin.target.as_str(), least),
                };
                self.release_and(held, self.requeue(cx, delay)).await
            }
            Decision::Abandon => {
                self.metrics.leases_lost.inc();
                if let Some(problem) = ending.error.as_ref().map(|error| Problem::new(error)) {
                    tracing::warn!(
                        code = problem.code,
                        "the command is left to the new holder of the lease: {problem}"
                    );
                }
                Ok(())
            }
        }
    }

    /// Gives the command back to the bus, which delivers it again after the delay, or when it expires.
    async fn requeue(&self, cx: &CommandContext<'_>, delay: Duration) -> Result<(), crate::bus::Error> {
        let &CommandContext { command, delivery, .. } = cx;
        let mut via = self.requeue_pacer.via(delay);
        // That a process died of this very message is known by its deliveries, and a schedule is another message.
        if let RequeueVia::Schedule(delay) = via
            && delivery.delivered > 1
            && self.last_attempt(cx).await?.record.in_progress
        {
            via = RequeueVia::Nak(delay.min(MAX_NAK_DELAY));
        }
        tracing::debug!(?via, "put off");
        match via {
            RequeueVia::Nak(delay) => delivery.acker.settle(Settlement::Nak(delay)).await,
            RequeueVia::Schedule(delay) => {
                let due = self.clock.now() + delay;
                let at = command.expiry.map_or(due, |expiry| expiry.min(due));
                match self.bus.schedule(delivery, &command.origin, at).await {
                    Ok(()) => delivery.acker.settle(Settlement::Ack).await,
                    // It has no room for the headers of a schedule, or the stream is full: it waits in the consumer.
                    Err(error @ (crate::bus::Error::Refused { .. } | crate::bus::Error::TooLarge { .. })) => {
                        tracing::debug!("a schedule is refused: {error}");
                        delivery.acker.settle(Settlement::Nak(delay.min(MAX_NAK_DELAY))).await
                    }
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// Gives the lease back and settles the message, neither waiting for the other.
    async fn release_and(
        &self,
        held: Option<HeldLease>,
        settle: impl Future<Output = Result<(), crate::bus::Error>>,
    ) -> Result<(), crate::bus::Error> {
        let release = async {
            if let Some(held) = held {
                held.release().await;
                reach(Step::Released);
            }
        };
        let ((), settled) = tokio::join!(release, settle);
        settled?;
        reach(Step::Settled);
        Ok(())
    }

    /// The command has ended: the message is one of several, or its ack was lost.
    pub(super) async fn settle_duplicate(&self, delivery: &Delivery) -> Result<(), crate::bus::Error> {
        self.metrics.duplicates.inc();
        delivery.acker.settle(Settlement::Ack).await
    }

    async fn record_retry(
        &self,
        cx: &CommandContext<'_>,
        ending: &AttemptOutcome,
        delay: Duration,
    ) -> Result<(), crate::bus::Error> {
        let Some(error) = &ending.error else { return Ok(()) };
        let problem = Problem::new(error);
        tracing::warn!(
            code = problem.code,
            attempt = ending.attempt.record.attempts,
            ?delay,
            "attempt failed: {problem}"
        );
        self.close_attempt(cx, ending, Some((&problem, delay))).await?;
        reach(Step::Retried);
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        let kind = EventKind::Retrying(Retrying { attempt: ending.attempt.record.attempts, delay_ms, problem });
        self.try_publish(&cx.command.origin, &ending.attempt, &kind).await;
        Ok(())
    }

    /// The commit point: whoever publishes the result first has ended the command.
    pub(super) async fn commit(&self, origin: &Origin, result: &ResultData) -> Result<(), crate::bus::Error> {
        let event =
            event::result_event(origin, self.clock.now(), result).map_err(|error| unsendable(origin, &error))?;
        let retention = self.retention(&origin.verb, result);
        reach(Step::Committing);
        let swap = match self.bus.commit_result(origin, &event, retention).await {
            // Without a result the command would run again for ever. All other parts have a small bound.
            Err(error @ crate::bus::Error::TooLarge { .. })
                if result.report.is_some() || !result.earlier_attempts.is_empty() =>
            {
                self.bus_failed("the result is published without its report", &error);
                let short = ResultData { report: None, earlier_attempts: Vec::new(), ..result.clone() };
                let event = event::result_event(origin, self.clock.now(), &short)
                    .map_err(|error| unsendable(origin, &error))?;
                self.bus.commit_result(origin, &event, retention).await?
            }
            swap => swap?,
        };
        if swap == Swap::Lost {
            self.metrics.fenced_results.inc();
            tracing::warn!(command = %origin.key, "another worker had published the result");
        }
        reach(Step::Committed);
        Ok(())
    }

    /// Ends what can never be done.
    async fn reject(
        &self,
        delivery: &Delivery,
        origin: Option<&Origin>,
        error: Error,
        received: Instant,
    ) -> Result<(), crate::bus::Error> {
        let problem = Problem::new(&error);
        tracing::warn!(code = problem.code, subject = delivery.subject, "rejected: {problem}");
        self.metrics.rejected.get_or_create(&ErrorCode { code: Word(error.code().as_str()) }).inc();
        let end = (DeadReason::Rejected, event::Outcome::Rejected);
        self.refuse(delivery, origin, end, problem, received).await
    }

    /// Refuses a command whose target, source and id belong to another one. Nothing of that other one is touched.
    async fn reject_reused_id(
        &self,
        delivery: &Delivery,
        origin: &Origin,
        received: Instant,
    ) -> Result<(), crate::bus::Error> {
        self.reject(delivery, None, Error::ReusedId { target: origin.target.to_string() }, received).await
    }

    /// Publishes a progress event. One that is lost costs a watcher a line, not the command its life.
    pub(super) async fn try_publish(&self, origin: &Origin, attempt: &Attempt, kind: &EventKind) {
        // Why is in the log.
        let _ = self.publish_event(origin, attempt, kind).await;
    }

    /// Publishes an event.
    pub(super) async fn publish_event(
        &self,
        origin: &Origin,
        attempt: &Attempt,
        kind: &EventKind,
    ) -> Result<(), PublishError> {
        let n = attempt.next_event();
        let now = self.clock.now();
        let place = (attempt.record.runs, n);
        let event = event::progress_event(origin, attempt.record.attempts, place, &self.settings.worker, now, kind)
            .map_err(|error| {
                tracing::error!("an event could not be built: {error}");
                PublishError { reason: error.to_string() }
            })?;
        self.bus.publish_event(origin, kind.name(), &event).await.map_err(|error| {
            self.bus_failed("an event may be lost", &error);
            PublishError { reason: error.to_string() }
        })
    }

    pub(super) fn bus_failed(&self, what: &str, error: &crate::bus::Error) {
        self.metrics.bus_errors.get_or_create(&ErrorCode { code: Word(error.code().as_str()) }).inc();
        tracing::warn!(code = %error.code(), "{what}: {}", Problem::new(error));
    }
}

/// The span of a command, in the trace of its producer.
fn span(decoded: &DecodedCommand<'_>) -> tracing::Span {
    let (origin, verb) = (&decoded.command.origin, decoded.task.verb());
    let span = tracing::info_span!(
        "process",
        otel.name = format!("process istio.{verb}"),
        command = %origin.key,
        verb,
        target = origin.target.as_str(),
        trace = tracing::field::Empty,
    );
    crate::telemetry::set_parent(&span, origin.traceparent.as_deref(), origin.tracestate.as_deref());
    span
}

/// Sets the trace context that the events of the command carry, and the trace id of the current span.
fn continue_trace(command: &mut Command) {
    let origin = &mut command.origin;
    if let Some(traceparent) = crate::telemetry::current() {
        origin.traceparent = Some(traceparent);
    }
    if let Some(trace) = origin.traceparent.as_deref().and_then(|parent| parent.split('-').nth(1)) {
        tracing::Span::current().record("trace", trace);
    }
}
