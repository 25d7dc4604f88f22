//! Runs the task of an attempt under its guard; meanwhile updates the attempt record, renews the lease and publishes events.
//! Ends a task that must stop at its next safe point.

use std::any::Any;
use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use serde_json::Value;
use time::OffsetDateTime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::attempt::{Attempt, CommandContext};
use super::lease::HeldLease;
use super::{Engine, Error, progress, task_events};
use crate::attachment::{Attachment, Attachments};
use crate::bus::{self, Bus};
use crate::error::Problem;
use crate::event::{self, CommandId, CommandKey, EventKind, Started, Target, WaitReason, Waited};
use crate::failpoint::{Step, reach};
use crate::guard::{Guard, Stop};
use crate::progress::Progress;
use crate::task::{self, Cancelled, Commands, FailedReport, Failure, Outcome, TaskContext};
use crate::task_event::{PublishError, TaskEvents};

/// Time that a task has to reach a safe point after the guard has stopped it.
pub(super) const SAFE_POINT: Duration = Duration::from_secs(10);

/// Why a task failed, and what it had done until then.
pub(super) struct TaskFailure {
    /// Why.
    pub error: Error,
    /// What it had done, if it reports that.
    pub done: Option<Outcome<Box<FailedReport>>>,
}

impl TaskFailure {
    fn without_report(error: impl Into<Error>) -> Self {
        Self { error: error.into(), done: None }
    }
}

/// The end of a task.
pub(super) type TaskResult = Result<Outcome<Value>, TaskFailure>;

/// What the future of a task returns; the outer error is its panic.
type TaskExit = Result<Result<Outcome<Value>, Failure<Box<FailedReport>>>, Box<dyn Any + Send>>;

impl Engine {
    /// Runs the task until it ends or has to stop. Also returns whether it had started to write.
    pub(super) async fn run_task(
        &self,
        cx: &CommandContext<'_>,
        params: Value,
        attempt: &mut Attempt,
        deadline: OffsetDateTime,
        lease: Option<&mut HeldLease>,
    ) -> (TaskResult, bool) {
        let start_permit = attempt.start_permit.take();
        let (attempt, origin) = (&*attempt, &cx.command.origin);
        let fence = lease.as_ref().map_or(0, |lease| lease.fence);
        let waited = waited(attempt, lease.as_deref());
        let guard = Guard::new(self.clock.instant_of(deadline), fence, self.hand_back.clone()).requiring_write_record();
        if let Some(lease) = lease {
            lease.keep(&guard, &self.settings.worker);
        }
        let (reporter, mut steps) = progress::pair();
        let (events, mut receiver) = task_events::pair();
        let context = self.task_context(cx, attempt, &guard, Arc::new(reporter), Arc::new(events));
        let started = EventKind::Started(Started {
            verb: origin.verb.clone(),
            attempt: attempt.record.attempts,
            worker: self.settings.worker.clone(),
            deadline: event::rfc3339(deadline),
            waited,
        });
        let cancelled = self.bus.control().listen(&origin.command());
        let (registry, verb) = (Arc::clone(&self.registry), cx.task.verb());
        let run = async move {
            match registry.get(verb) {
                Some(task) => task.run(&context, params).await,
                None => Err(Stop::Shutdown.into()), // the task comes from the same registry
            }
        };
        let record_key = cx.record_key();
        let mut run = AssertUnwindSafe(run).catch_unwind().boxed();
        let result = async {
            // A task that does not wait for anything is not worth a task of the runtime, which wakes another thread.
            if let Poll::Ready(exit) = poll_fn(|context| Poll::Ready(run.as_mut().poll(context))).await {
                return task_result(exit);
            }
            let run = tokio::spawn(run.in_current_span());
            tokio::select! {
                result = until_done(run, &guard) => result,
                never = forward_cancellation(&cancelled, &guard) => match never {},
                never = self.end_start_probation(&record_key, attempt, start_permit) => match never {},
                never = self.record_first_write(&record_key, attempt, &guard) => match never {},
                never = self.publish_progress(origin, attempt, &mut steps) => match never {},
                never = self.publish_task_events(origin, attempt, &mut receiver) => match never {},
            }
        };
        let publish_started = async {
            self.try_publish(origin, attempt, &started).await;
            reach(Step::Started);
        };
        let ((), result) = tokio::join!(publish_started, result);
        self.bus.control().forget(&origin.command());
        if let Some(step) = steps.take_newest() {
            self.try_publish(origin, attempt, &EventKind::Progress(step)).await;
        }
        // A process that was suspended longer than its lease may resume to a time-out, which is not the error of the task.
        let result = match guard.check() {
            Err(Stop::LostLease) => result.map_err(|failure| TaskFailure {
                error: task::Error::Stopped(Stop::LostLease).into(),
                done: failure.done,
            }),
            _ => result,
        };
        (result, guard.has_started_writing())
    }

    fn task_context(
        &self,
        cx: &CommandContext<'_>,
        attempt: &Attempt,
        guard: &Guard,
        progress: Arc<dyn Progress>,
        events: Arc<dyn TaskEvents>,
    ) -> TaskContext {
        let origin = &cx.command.origin;
        TaskContext {
            key: origin.key.clone(),
            target: origin.target.to_string(),
            clusters: Arc::clone(&self.clusters),
            commands: Arc::new(TargetCommands { bus: Arc::clone(&self.bus), target: origin.target.clone() }),
            attachments: Arc::new(AttachmentStore(Arc::clone(&self.bus))),
            guard: guard.clone(),
            progress,
            events,
            clock: self.clock,
            attempt: attempt.record.attempts,
            generation: cx.command.generation,
        }
    }
}

/// What the command waited for before the attempt.
fn waited(attempt: &Attempt, lease: Option<&HeldLease>) -> Vec<Waited> {
    let of = |(reason, waited_ms): (&WaitReason, &u64)| {
        let installation =
            lease.filter(|_| *reason == WaitReason::Installation).map(|lease| lease.installation.clone());
        Waited { reason: *reason, installation, waited_ms: *waited_ms }
    };
    attempt.waited.iter().filter(|(_, waited_ms)| **waited_ms > 0).map(of).collect()
}

/// The commands that a task may cancel: those of its own target.
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

/// Stores the attachments of a task on the bus.
struct AttachmentStore(Arc<dyn Bus>);

#[async_trait]
impl Attachments for AttachmentStore {
    async fn attach(&self, json: Vec<u8>) -> Result<Attachment, PublishError> {
        let bytes = json.len();
        let stored = self.0.attach(json.into()).await;
        let dataref = stored.map_err(|error| PublishError { reason: Problem::new(&error).to_string() })?;
        Ok(Attachment { dataref, bytes })
    }
}

async fn forward_cancellation(cancelled: &CancellationToken, guard: &Guard) -> Infallible {
    cancelled.cancelled().await;
    guard.cancel();
    std::future::pending().await
}

/// Waits for the task. After the guard has stopped it, it may continue to its next safe point. It is dropped when it does
/// not reach one within [`SAFE_POINT`], but not during a write; without its lease it is dropped at once.
async fn until_done(mut run: JoinHandle<TaskExit>, guard: &Guard) -> TaskResult {
    let mut stopped = None;
    let joined = tokio::select! {
        joined = &mut run => joined,
        stop = guard.stopped() => {
            stopped = Some(stop);
            let too_long = async {
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
                () = too_long => {
                    run.abort();
                    run.await
                }
            }
        }
    };
    match joined {
        Ok(exit) => task_result(exit),
        // The task was dropped.
        Err(_) => Err(TaskFailure::without_report(task::Error::Stopped(stopped.unwrap_or(Stop::Shutdown)))),
    }
}

fn task_result(exit: TaskExit) -> TaskResult {
    match exit {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(Failure { error, report })) => Err(TaskFailure { error: error.into(), done: report }),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            let message = text.unwrap_or("without a message").to_owned();
            Err(TaskFailure::without_report(Error::Panicked { message }))
        }
    }
}
