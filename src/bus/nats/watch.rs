//! Updates [`Control`](crate::bus::Control) from its bucket.

use std::time::Duration;

use async_nats::header;
use async_nats::jetstream::consumer::{DeliverPolicy, push};
use futures::StreamExt;

use super::NatsBus;
use super::publish::{Message, SCHEDULE, message_id};
use crate::bus::{Cancellation, ControlState, Error};
use crate::clock::Clock;
use crate::event::rfc3339;

/// How often the whole state is read again, because the bucket has no delete markers for keys that reach its `max_age`.
const REREAD_INTERVAL: Duration = Duration::from_hours(1);
/// Timeout of reading the whole state.
const READ: Duration = Duration::from_secs(30);

/// One message of the bucket.
enum Change {
    Cancelled(Cancellation),
    Withdrawn(Cancellation),
    Paused(String),
    Resumed(String),
}

impl NatsBus {
    /// Follows cancellations and pauses until `stop`, and opens a new watch after an error. Returns when the current state is
    /// known.
    ///
    /// # Errors
    /// When the first watch cannot be opened or does not deliver the current state.
    pub async fn follow_control(&self, stop: tokio_util::sync::CancellationToken) -> Result<(), Error> {
        let mut messages = self.watch_control().await?;
        let bus = self.clone();
        let clock = Clock::system();
        tokio::spawn(async move {
            loop {
                let ended = tokio::select! {
                    ended = bus.apply_changes(&mut messages) => ended,
                    () = clock.sleep(REREAD_INTERVAL) => "the whole state is due to be read".to_owned(),
                    () = stop.cancelled() => return,
                };
                tracing::debug!("the watch of cancellations and pauses starts over: {ended}");
                messages = tokio::select! {
                    again = bus.watch_again(clock) => again,
                    () = stop.cancelled() => return,
                };
            }
        });
        Ok(())
    }

    /// Applies changes until the watch fails, and returns the cause. The stream of the client must not be polled after an
    /// error: after some errors it panics.
    async fn apply_changes(&self, messages: &mut push::Ordered) -> String {
        loop {
            match messages.next().await {
                Some(Ok(message)) => self.apply_change(&message.message).await,
                Some(Err(error)) => return error.to_string(),
                None => return "the stream ended".to_owned(),
            }
        }
    }

    async fn apply_change(&self, message: &async_nats::Message) {
        match self.change(message) {
            Some(Change::Cancelled(cancellation)) => {
                self.control.cancel(cancellation.clone());
                self.deliver_now(&cancellation).await;
            }
            Some(Change::Withdrawn(cancellation)) => self.control.withdraw(&cancellation),
            Some(Change::Paused(target)) => self.control.set_paused(&target, true),
            Some(Change::Resumed(target)) => self.control.set_paused(&target, false),
            None => {}
        }
    }

    async fn watch_again(&self, clock: Clock) -> push::Ordered {
        loop {
            match self.watch_control().await {
                Ok(again) => return again,
                Err(error) => tracing::debug!("cancellations and pauses cannot be watched yet: {error}"),
            }
            clock.sleep(Duration::from_secs(1)).await;
        }
    }

    /// Opens a watch, reads the current state to its end, and replaces the known state by it.
    async fn watch_control(&self) -> Result<push::Ordered, Error> {
        let stream = format!("KV_{}", self.subjects.control_bucket());
        let subject = self.subjects.controls();
        let (mut messages, pending) = self.follow(&stream, &subject, DeliverPolicy::LastPerSubject).await?;
        let fail = |source: Box<dyn std::error::Error + Send + Sync>| Error::Request {
            operation: "follow",
            subject: subject.clone(),
            source,
        };
        let read = async {
            let mut state = ControlState::default();
            for _ in 0..pending {
                let message = messages.next().await.ok_or_else(|| fail("the stream ended".into()))?;
                let message = message.map_err(|error| fail(error.into()))?;
                match self.change(&message.message) {
                    Some(Change::Cancelled(cancellation)) => drop(state.cancelled.insert(cancellation)),
                    Some(Change::Paused(target)) => drop(state.paused.insert(target)),
                    Some(Change::Withdrawn(_) | Change::Resumed(_)) | None => {}
                }
            }
            Ok::<_, Error>(state)
        };
        let state = tokio::time::timeout(READ, read).await.map_err(|elapsed| fail(elapsed.into()))??;
        self.control.replace(state);
        Ok(messages)
    }

    fn change(&self, message: &async_nats::Message) -> Option<Change> {
        let present = message.headers.as_ref().is_none_or(|headers| headers.get("KV-Operation").is_none());
        if let Some(cancellation) = self.subjects.parse_cancel(&message.subject) {
            return Some(if present { Change::Cancelled(cancellation) } else { Change::Withdrawn(cancellation) });
        }
        let target = self.subjects.parse_pause(&message.subject)?.to_owned();
        Some(if present { Change::Paused(target) } else { Change::Resumed(target) })
    }

    /// Makes the schedule of a cancelled command due now: one of the workers that see the cancellation replaces the schedule.
    /// Then the command is delivered and ends.
    pub(super) async fn deliver_now(&self, cancellation: &Cancellation) {
        let stream = self.subjects.waiting_stream();
        let wanted = self.subjects.schedules_of(cancellation);
        let moved = async {
            let Some(waiting) = self.last(&stream, &wanted).await? else { return Ok(()) };
            let subject = waiting.subject.to_string();
            let mut headers = waiting.headers;
            headers.insert(SCHEDULE, format!("@at {}", rfc3339(Clock::system().now())));
            headers.insert(header::NATS_ROLLUP, "sub"); // replaces the one that waits
            headers.insert(header::NATS_MESSAGE_ID, message_id());
            let now = Message { subject, headers, payload: waiting.payload };
            self.swap(&stream, now, waiting.sequence).await.map(drop)
        };
        if let Err(error) = moved.await {
            let error: Error = error;
            tracing::debug!(command = %cancellation.key, "cannot make the scheduled retry due now: {error}");
        }
    }
}
