//! Settles the message of a command after an attempt: one method for each decision of [`settle`](super::settle), and the
//! results, dead letters and acknowledgments that they need.

use std::time::Duration;

use tokio::time::Instant;

use super::attempt::CommandContext;
use super::dispatch::{AttemptOutcome, FinishedAttempt};
use super::lease::HeldLease;
use super::requeue::{MAX_NAK_DELAY, RequeueVia};
use super::settle::{AttemptEnd, Decision, SettleInput, decide};
use super::{Engine, Error};
use crate::bus::{self, AttemptRecord, DeadReason, Delivery, RecordKey, Settlement, Swap};
use crate::error::{Classify, Problem};
use crate::event::{self, EventKind, Origin, Outcome, ResultData, Retrying};
use crate::failpoint::{Step, reach};
use crate::telemetry::metrics::{ErrorCode, Verb as VerbLabel, Word};

/// Whether a result may be published for a message that is not executed.
enum ReplyState {
    /// The command has its result.
    Published,
    /// The command has no result: one may be published. With its attempts.
    Allowed(Box<AttemptRecord>),
    /// No, because source and id are unknown or belong to another command.
    Forbidden,
}

impl FinishedAttempt {
    /// The end of the attempt, as the table of decisions classifies it.
    fn end(&self) -> AttemptEnd {
        match self.outcome.error() {
            None => AttemptEnd::Succeeded,
            Some(Error::Crashes { .. }) => AttemptEnd::Crashed,
            Some(Error::Panicked { .. }) => AttemptEnd::Panicked(1 + u32::from(self.attempt.panicked_before())),
            Some(error) => AttemptEnd::Failed(error.class()),
        }
    }

    /// Until the next attempt is due, for a delivery that arrived before that.
    const fn backoff_left(&self) -> Option<Duration> {
        match self.outcome.error() {
            Some(Error::BackoffPending { left }) => Some(*left),
            _ => None,
        }
    }

    /// What the command waits for: an installation, as `<target>/<installation>`, a target, or `*` for a slot of any.
    fn waits_for(&self, origin: &Origin) -> String {
        match self.outcome.error() {
            Some(Error::Busy { installation }) => format!("{}/{installation}", origin.target),
            Some(Error::WorkerSaturated) => "*".to_owned(),
            _ => origin.target.to_string(),
        }
    }
}

impl Engine {
    /// Decides what happens to the command, and does it.
    pub(super) async fn settle(
        &self,
        cx: &CommandContext<'_>,
        finished: FinishedAttempt,
        lease: Option<HeldLease>,
    ) -> Result<(), bus::Error> {
        if let Some(error) = finished.outcome.error() {
            self.metrics.task_errors.get_or_create(&ErrorCode { code: Word(error.code().as_str()) }).inc();
        }
        let input = SettleInput {
            attempt: finished.attempt.record.attempts,
            max_attempts: cx.task.limits().attempts,
            time_left: finished.time_left,
            deliveries: cx.delivery.delivered,
            backoff_left: finished.backoff_left(),
        };
        match decide(finished.end(), input) {
            Decision::Conclude { outcome, dead_letter } => {
                self.conclude(cx, finished, lease, outcome, dead_letter).await
            }
            Decision::Retry(delay) => self.retry(cx, &finished, lease, delay).await,
            Decision::Requeue(delay) => self.hand_back(cx, &finished, lease, delay).await,
            Decision::RequeueInTurn(min_delay) => {
                let delay = self.requeue_pacer.turn_delay(&finished.waits_for(&cx.command.origin), min_delay);
                self.hand_back(cx, &finished, lease, delay).await
            }
            Decision::Abandon => {
                self.abandon(&finished);
                Ok(())
            }
        }
    }

    /// Publishes the dead letter, if there is one, and the result; then acknowledges the message.
    async fn conclude(
        &self,
        cx: &CommandContext<'_>,
        finished: FinishedAttempt,
        lease: Option<HeldLease>,
        outcome: Outcome,
        dead_letter: Option<DeadReason>,
    ) -> Result<(), bus::Error> {
        let &CommandContext { command, task, delivery, received, .. } = cx;
        let FinishedAttempt { outcome: attempt_outcome, attempt, fence, .. } = finished;
        let number = attempt.record.attempts;
        let changed = attempt_outcome.changed() || attempt.record.changed();
        let (report, error) = match attempt_outcome {
            AttemptOutcome::Succeeded { report, .. } => (Some(report), None),
            AttemptOutcome::Failed { error, report, .. } => (report, Some(error)),
            AttemptOutcome::NotRun(error) => (None, Some(error)),
        };
        let is_last_of_several = dead_letter == Some(DeadReason::Exhausted) && number > 1;
        let error = error.map(|error| if is_last_of_several { error.exhausted(number) } else { error });
        let problem = error.as_ref().map(|error| Problem::new(error));
        if let (Some(reason), Some(problem)) = (dead_letter, &problem) {
            self.publish_dead_letter(delivery, Some(&command.origin), reason, problem).await?;
        }
        let result = ResultData {
            outcome,
            changed,
            report,
            error: problem,
            attempts: number,
            earlier_attempts: attempt.record.failed,
            fence,
            worker: self.settings.worker.clone(),
            ended: event::rfc3339(self.clock.now()),
        };
        self.commit(&command.origin, &result).await?;
        cx.in_flight.end();
        self.release_and(lease, delivery.acker.settle(Settlement::Ack)).await?;
        self.metrics.ended(task.verb(), outcome.as_str(), received.elapsed());
        log_end(&result, number);
        Ok(())
    }

    /// Records that the attempt failed, publishes `retrying`, and requeues the message until the next attempt is due.
    async fn retry(
        &self,
        cx: &CommandContext<'_>,
        finished: &FinishedAttempt,
        lease: Option<HeldLease>,
        delay: Duration,
    ) -> Result<(), bus::Error> {
        let attempt = finished.attempt.record.attempts;
        if let Some(error) = finished.outcome.error() {
            let problem = Problem::new(error);
            tracing::warn!(code = problem.code, attempt, ?delay, "attempt failed: {problem}");
            self.close_attempt(cx, finished, Some((&problem, delay))).await?;
            reach(Step::Retried);
            let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            let retrying = EventKind::Retrying(Retrying { attempt, delay_ms, problem });
            self.try_publish(&cx.command.origin, &finished.attempt, &retrying).await;
        }
        self.metrics.retries.get_or_create(&VerbLabel { verb: Word(cx.task.verb()) }).inc();
        self.release_and(lease, self.requeue(cx, delay)).await
    }

    /// Requeues the message. The attempt, if one was recorded, does not count.
    async fn hand_back(
        &self,
        cx: &CommandContext<'_>,
        finished: &FinishedAttempt,
        lease: Option<HeldLease>,
        delay: Duration,
    ) -> Result<(), bus::Error> {
        self.close_attempt(cx, finished, None).await?;
        self.release_and(lease, self.requeue(cx, delay)).await
    }

    /// Leaves the command to the worker that holds the lease now.
    fn abandon(&self, finished: &FinishedAttempt) {
        self.metrics.leases_lost.inc();
        if let Some(error) = finished.outcome.error() {
            let problem = Problem::new(error);
            tracing::warn!(code = problem.code, "the command is left to the new holder of the lease: {problem}");
        }
    }

    /// Returns the command to the bus, which delivers it again after the delay, or when it expires.
    async fn requeue(&self, cx: &CommandContext<'_>, delay: Duration) -> Result<(), bus::Error> {
        let &CommandContext { command, delivery, .. } = cx;
        let mut via = self.requeue_pacer.via(delay);
        // A crash is recognized by the deliveries of one message, and a schedule publishes another message.
        if let RequeueVia::Schedule(delay) = via
            && delivery.delivered > 1
            && self.last_attempt(cx).await?.record.in_progress
        {
            via = RequeueVia::Nak(delay.min(MAX_NAK_DELAY));
        }
        tracing::debug!(?via, "requeued");
        match via {
            RequeueVia::Nak(delay) => delivery.acker.settle(Settlement::Nak(delay)).await,
            RequeueVia::Schedule(delay) => {
                let due = self.clock.now() + delay;
                let at = command.expiry.map_or(due, |expiry| expiry.min(due));
                match self.bus.schedule(delivery, &command.origin, at).await {
                    Ok(()) => delivery.acker.settle(Settlement::Ack).await,
                    // The message is too large for the headers of a schedule, or the stream is full.
                    Err(
                        error @ (bus::Error::Refused { .. } | bus::Error::Full { .. } | bus::Error::TooLarge { .. }),
                    ) => {
                        tracing::debug!("the command waits in the consumer, because a schedule is refused: {error}");
                        delivery.acker.settle(Settlement::Nak(delay.min(MAX_NAK_DELAY))).await
                    }
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// Releases the lease and settles the message at the same time.
    pub(super) async fn release_and(
        &self,
        lease: Option<HeldLease>,
        settle: impl Future<Output = Result<(), bus::Error>>,
    ) -> Result<(), bus::Error> {
        let release = async {
            if let Some(lease) = lease {
                lease.release().await;
                reach(Step::Released);
            }
        };
        let ((), settled) = tokio::join!(release, settle);
        settled?;
        reach(Step::Settled);
        Ok(())
    }

    /// Acknowledges a message whose command has its result: a copy, or one whose ack was lost.
    pub(super) async fn settle_duplicate(&self, delivery: &Delivery) -> Result<(), bus::Error> {
        self.metrics.duplicates.inc();
        delivery.acker.settle(Settlement::Ack).await
    }

    /// Publishes the result, unless the command has one: the first result ends the command.
    pub(super) async fn commit(&self, origin: &Origin, result: &ResultData) -> Result<(), bus::Error> {
        let build = |result| event::result_event(origin, self.clock.now(), result);
        let event = build(result).map_err(|error| malformed(origin, &error))?;
        let retention = self.retention(&origin.verb, result);
        reach(Step::Committing);
        let answer = self.bus.commit_result(origin, &event, retention).await;
        self.result_pause.observe(&answer);
        let swap = match answer {
            // Without a result the command would run again and again. All other fields have a small limit.
            Err(error @ bus::Error::TooLarge { .. })
                if result.report.is_some() || !result.earlier_attempts.is_empty() =>
            {
                self.bus_failed("the result is published without its report", &error);
                let short = ResultData { report: None, earlier_attempts: Vec::new(), ..result.clone() };
                let event = build(&short).map_err(|error| malformed(origin, &error))?;
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

    /// Rejects a message that is not a valid command.
    pub(super) async fn reject(
        &self,
        delivery: &Delivery,
        origin: Option<&Origin>,
        error: Error,
        received: Instant,
    ) -> Result<(), bus::Error> {
        let problem = Problem::new(&error);
        self.metrics.rejected.get_or_create(&ErrorCode { code: Word(error.code().as_str()) }).inc();
        self.refuse(delivery, origin, (DeadReason::Rejected, Outcome::Rejected), problem, received).await
    }

    /// Rejects a command whose target, source and id belong to another command, which is not affected.
    pub(super) async fn reject_reused_id(
        &self,
        delivery: &Delivery,
        origin: &Origin,
        received: Instant,
    ) -> Result<(), bus::Error> {
        self.reject(delivery, None, Error::ReusedId { target: origin.target.to_string() }, received).await
    }

    /// Ends a command that is not executed, or not again: publishes a dead letter, and a result with its earlier attempts if
    /// the sender is known; then terminates the message.
    pub(super) async fn refuse(
        &self,
        delivery: &Delivery,
        origin: Option<&Origin>,
        (reason, outcome): (DeadReason, Outcome),
        problem: Problem,
        received: Instant,
    ) -> Result<(), bus::Error> {
        let reply = match origin {
            Some(origin) => self.reply_state(origin).await?,
            None => ReplyState::Forbidden,
        };
        let sender = match reply {
            ReplyState::Published => return self.settle_duplicate(delivery).await,
            ReplyState::Allowed(record) => origin.zip(Some(record)),
            ReplyState::Forbidden => None,
        };
        tracing::warn!(code = problem.code, subject = delivery.subject, "{}: {problem}", reason.as_str());
        self.publish_dead_letter(delivery, sender.as_ref().map(|(origin, _)| *origin), reason, &problem).await?;
        let verb = delivery.address.as_ref().and_then(|(_, verb)| self.task(verb));
        let term = format!("{} {}", problem.code, problem.message);
        if let Some((origin, record)) = sender {
            let result = ResultData {
                outcome,
                changed: record.changed(),
                report: None,
                error: Some(problem),
                attempts: record.attempts,
                earlier_attempts: record.failed,
                fence: 0,
                worker: self.settings.worker.clone(),
                ended: event::rfc3339(self.clock.now()),
            };
            self.commit(origin, &result).await?;
        }
        self.metrics.ended(verb.map_or("unknown", |(task, _)| task.verb()), outcome.as_str(), received.elapsed());
        delivery.acker.settle(Settlement::Term(term)).await
    }

    /// Whether a result may be published for a message that is not executed. Source and id belong to the first command that
    /// was read with them.
    async fn reply_state(&self, origin: &Origin) -> Result<ReplyState, bus::Error> {
        let command = origin.command();
        if let Some(found) = self.bus.find_result(&command).await? {
            let is_same = found.fingerprint == origin.fingerprint();
            return Ok(if is_same { ReplyState::Published } else { ReplyState::Forbidden });
        }
        let (record, _) = self.bus.attempts(&RecordKey::command(&command)).await?;
        let is_reused = super::attempt::is_reused(&record, origin);
        Ok(if is_reused { ReplyState::Forbidden } else { ReplyState::Allowed(Box::new(record)) })
    }

    /// Counts and logs a failed request to the bus.
    pub(super) fn bus_failed(&self, what: &str, error: &bus::Error) {
        self.metrics.bus_errors.get_or_create(&ErrorCode { code: Word(error.code().as_str()) }).inc();
        tracing::warn!(code = %error.code(), "{what}: {}", Problem::new(error));
    }
}

fn log_end(result: &ResultData, attempt: u32) {
    let outcome = result.outcome.as_str();
    match &result.error {
        Some(problem) => tracing::warn!(outcome, attempt, code = problem.code, "command ended: {problem}"),
        None if result.changed => tracing::info!(outcome, attempt, "command ended, the cluster changed"),
        // There may be thousands in a second, and the result says so too.
        None => tracing::debug!(outcome, attempt, "command ended, the cluster did not change"),
    }
}

fn malformed(origin: &Origin, error: &event::Error) -> bus::Error {
    bus::Error::Malformed { what: format!("result of {}", origin.key), reason: error.to_string() }
}
