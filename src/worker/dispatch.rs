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
use super::params_cost;
use super::run::TaskFailure;
use super::target_limit::Full;
use super::{Engine, Error};
use crate::bus::{self, Delivery, LeaseName};
use crate::error::{Class, Classify, Code};
use crate::event::{self, AttemptedObject, Command, WaitReason};
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
    Now(Error, Box<Attempt>),
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
        lease: &mut Option<HeldLease>,
    ) -> Result<Executed, bus::Error> {
        let Command { origin, dataref, .. } = cx.command;
        let end_with_lease = match self.early_end(cx).await? {
            EarlyEnd::No => None,
            EarlyEnd::Now(error, attempt) => return Ok(FinishedAttempt::not_run(error, *attempt)),
            EarlyEnd::WithLease(error) => Some(error),
            EarlyEnd::IdReused => return Ok(Executed::IdReused),
        };
        let target = origin.target.as_str();
        if end_with_lease.is_none() && self.bus.control().is_paused(target) {
            return self.wait(cx, WaitReason::Pause, Error::Paused { target: target.to_owned() }).await;
        }
        if end_with_lease.is_none() && self.result_pause.is_on() {
            return self.wait(cx, WaitReason::Results, Error::ResultsRefused).await;
        }
        let saturated = |full: Full| match full {
            Full::Target => Error::TargetSaturated { target: target.to_owned() },
            Full::Shared => Error::WorkerSaturated,
        };
        let _slot = match self.target_limiter.acquire(target, cx.task.slot_class()).await {
            Ok(permit) => permit,
            Err(full) => return self.wait(cx, WaitReason::Slot, saturated(full)).await,
        };
        // The size of an object is not known before it is read.
        let most = match &params {
            None => event::dataref::MAX_BYTES,
            Some(params) => cx.delivery.payload.len() + params_cost::of_manifests(&params.value),
        };
        let Some(mut memory) = self.params_memory.reserve(most) else {
            return self.wait(cx, WaitReason::Memory, Error::ParamsMemoryExhausted).await;
        };
        let params = match params {
            Some(params) => params,
            None => match self.fetch_params(cx, dataref.as_deref().unwrap_or_default()).await? {
                FetchedParams::Valid(params, bytes) => {
                    if !self.params_memory.resize(&mut memory, bytes + params_cost::of_manifests(&params.value)) {
                        return self.wait(cx, WaitReason::Memory, Error::ParamsMemoryExhausted).await;
                    }
                    params
                }
                FetchedParams::Rejected(error) => return Ok(Executed::Rejected(error)),
                FetchedParams::Settled => return Ok(Executed::Settled),
            },
        };
        // Before the lease, because no task renews it yet.
        let Some(start_permit) = self.acquire_start_permit(cx).await? else {
            return self.wait(cx, WaitReason::Slot, saturated(Full::Target)).await;
        };
        if let Some(installation) = params.installation.clone() {
            let name = LeaseName { target: origin.target.clone(), installation: installation.clone() };
            *lease = HeldLease::acquire(&self.bus, &name, &self.settings.worker, self.settings.lease_ttl).await?;
            if lease.is_none() {
                self.metrics.lease_waits.inc();
                return self.wait(cx, WaitReason::Installation, Error::Busy { installation }).await;
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
            EarlyEnd::Now(error, Box::new(attempt))
        })
    }

    /// The command cannot start yet. From now on, its target, source and id belong to it.
    async fn wait(&self, cx: &CommandContext<'_>, reason: WaitReason, error: Error) -> Result<Executed, bus::Error> {
        let is_ours = self.record_wait(cx, reason).await?;
        Ok(if is_ours { FinishedAttempt::not_started(error) } else { Executed::IdReused })
    }

    /// Records the attempt and runs the task.
    async fn attempt(
        &self,
        cx: &CommandContext<'_>,
        params: serde_json::Value,
        start_permit: StartPermit,
        mut lease: Option<&mut HeldLease>,
    ) -> Result<Executed, bus::Error> {
        let limits = cx.task.limits_for(&params);
        let mut attempt = match self.begin_attempt(cx, start_permit).await? {
            AttemptStart::Started(attempt) => attempt,
            AttemptStart::BackoffPending(left) => {
                return Ok(FinishedAttempt::not_started(Error::BackoffPending { left }));
            }
            AttemptStart::AlreadyRunning => return Ok(FinishedAttempt::not_started(Error::AlreadyRunning)),
            AttemptStart::AlreadyEnded => return Ok(Executed::AlreadyEnded),
            AttemptStart::IdReused => return Ok(Executed::IdReused),
            AttemptStart::Crashed(attempt) => {
                let times = attempt.record.crashes;
                return Ok(FinishedAttempt::not_run(Error::Crashes { times }, attempt));
            }
        };
        reach(Step::Recorded);
        let deadline = attempt.deadline(limits, cx.command.expiry);
        if deadline <= self.clock.now() {
            return Ok(FinishedAttempt::not_run(Error::Expired { deadline: event::rfc3339(deadline) }, attempt));
        }
        let fence = lease.as_ref().map_or(0, |lease| lease.fence);
        let (result, wrote) = self.run_task(cx, params, &mut attempt, deadline, lease.as_deref_mut()).await;
        reach(Step::TaskEnded);
        let time_left = Duration::try_from(deadline - self.clock.now()).unwrap_or_default();
        let outcome = match result {
            Ok(outcome) => {
                let (changed, report) = outcome.into_parts();
                AttemptOutcome::Succeeded { changed, report }
            }
            Err(failure) => self.failed_attempt(failure, wrote, lease).await?,
        };
        Ok(Executed::Finished(Box::new(FinishedAttempt { outcome, attempt, fence, time_left })))
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
        Ok(Error::ForeignFence { fence: lease.fence, cause: Box::new(error) })
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
