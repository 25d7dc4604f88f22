//! Publishes the events of an attempt: its progress, and what its task reports.

use std::convert::Infallible;

use super::Engine;
use super::attempt::Attempt;
use super::progress::ProgressSteps;
use super::task_events::EventReceiver;
use crate::event::{self, EventKind, Origin};
use crate::task_event::{PublishError, TaskEvent};

impl Engine {
    /// Publishes a progress event. A lost event costs an observer one line, so the command continues without it.
    pub(super) async fn try_publish(&self, origin: &Origin, attempt: &Attempt, kind: &EventKind) {
        let _ = self.publish_event(origin, attempt, kind).await; // it logs the error
    }

    /// Publishes an event.
    pub(super) async fn publish_event(
        &self,
        origin: &Origin,
        attempt: &Attempt,
        kind: &EventKind,
    ) -> Result<(), PublishError> {
        let position = (attempt.record.runs, attempt.next_event());
        let (number, worker, now) = (attempt.record.attempts, &self.settings.worker, self.clock.now());
        let event = event::progress_event(origin, number, position, worker, now, kind).map_err(|error| {
            tracing::error!("an event could not be built: {error}");
            PublishError { reason: error.to_string() }
        })?;
        self.bus.publish_event(origin, kind.name(), &event).await.map_err(|error| {
            self.bus_failed("an event may be lost", &error);
            PublishError { reason: error.to_string() }
        })
    }

    /// Publishes the steps that the task reports, until it is dropped.
    pub(super) async fn publish_progress(
        &self,
        origin: &Origin,
        attempt: &Attempt,
        steps: &mut ProgressSteps,
    ) -> Infallible {
        loop {
            let step = steps.next().await;
            self.try_publish(origin, attempt, &EventKind::Progress(step)).await;
        }
    }

    /// Publishes the events that the task must not lose, and returns to it whether each one was stored, until it is dropped.
    pub(super) async fn publish_task_events(
        &self,
        origin: &Origin,
        attempt: &Attempt,
        receiver: &mut EventReceiver,
    ) -> Infallible {
        loop {
            let (event, stored) = receiver.next().await;
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
            // A task that was stopped does not wait for the answer.
            let _ = stored.send(self.publish_event(origin, attempt, &kind).await);
        }
    }
}
