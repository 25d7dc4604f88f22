//! Keeps [`Control`](crate::bus::Control) in step with its bucket.

use std::time::Duration;

use async_nats::header;
use async_nats::jetstream::consumer::{DeliverPolicy, push};
use futures::StreamExt;

use super::NatsBus;
use super::publish::{Message, SCHEDULE};
use crate::bus::Error;
use crate::clock::Clock;
use crate::event::{CommandKey, rfc3339};

impl NatsBus {
    /// Follows what operators ask for until `stop`; starts over when the watch breaks. Returns when the present state
    /// is known.
    ///
    /// # Errors
    /// When the first watch cannot be opened.
    pub async fn follow_control(&self, stop: tokio_util::sync::CancellationToken) -> Result<(), Error> {
        let (mut messages, pending) = self.watch_control().await?;
        for _ in 0..pending {
            match messages.next().await {
                Some(Ok(message)) => drop(self.note_control(&message.message)),
                _ => break,
            }
        }
        let bus = self.clone();
        let clock = Clock::system();
        tokio::spawn(async move {
            loop {
                let next = tokio::select! { next = messages.next() => next, () = stop.cancelled() => return };
                match next {
                    Some(Ok(message)) => {
                        if let Some((key, target)) = bus.note_control(&message.message) {
                            bus.hasten(&key, target.as_deref()).await;
                        }
                    }
                    // After some errors the client's stream panics when it is asked again.
                    over => {
                        tracing::debug!(
                            "the watch of cancellations and pauses starts over: {:?}",
                            over.map(Result::err)
                        );
                        messages = tokio::select! {
                            again = bus.watch_again(clock) => again,
                            () = stop.cancelled() => return,
                        };
                    }
                }
            }
        });
        Ok(())
    }

    async fn watch_again(&self, clock: Clock) -> push::Ordered {
        loop {
            clock.sleep(Duration::from_secs(1)).await;
            if let Ok((again, _)) = self.watch_control().await {
                self.control.reset();
                return again;
            }
        }
    }

    /// The watch, and how many messages tell the present state.
    async fn watch_control(&self) -> Result<(push::Ordered, u64), Error> {
        let stream = format!("KV_{}", self.subjects.control_bucket());
        self.follow(&stream, &self.subjects.controls(), DeliverPolicy::LastPerSubject).await
    }

    /// Takes a note into account; gives the command that it cancels, and its target where the note names it.
    fn note_control(&self, message: &async_nats::Message) -> Option<(CommandKey, Option<String>)> {
        let bucket = format!("$KV.{}.", self.subjects.control_bucket());
        let present = message.headers.as_ref().is_none_or(|headers| headers.get("KV-Operation").is_none());
        let (kind, name) = message.subject.strip_prefix(&bucket).and_then(|rest| rest.split_once('.'))?;
        match (kind, name.parse()) {
            ("cancel", Ok(key)) if present => {
                let target = noted_target(&message.payload);
                self.control.cancel(&key, target.clone());
                return Some((key, target));
            }
            ("cancel", Ok(key)) => self.control.forget_cancelled(&key),
            ("pause", _) => self.control.set_paused(name, present),
            _ => {}
        }
        None
    }

    /// A cancelled command that waits in a schedule need not wait for its time: of all workers that hear of it, one moves
    /// the schedule to now, and the command comes back and ends.
    pub(super) async fn hasten(&self, key: &CommandKey, target: Option<&str>) {
        let stream = self.subjects.command_stream();
        let wanted =
            target.map_or_else(|| self.subjects.schedule_of(key), |target| self.subjects.schedule(target, key));
        let moved = async {
            let Some(waiting) = self.last(&stream, &wanted).await? else { return Ok(()) };
            let subject = waiting.subject.to_string();
            let mut headers = waiting.headers;
            headers.insert(SCHEDULE, format!("@at {}", rfc3339(Clock::system().now())));
            headers.insert(header::NATS_ROLLUP, "sub"); // in the place of the other one
            headers.insert(header::NATS_MESSAGE_ID, format!("{key}.now.{}", waiting.sequence));
            let now = Message { subject, headers, payload: waiting.payload };
            self.swap(&stream, now, waiting.sequence).await.map(drop)
        };
        if let Err(error) = moved.await {
            let error: Error = error;
            tracing::debug!(command = %key, "its scheduled retry is not hastened: {error}");
        }
    }
}

/// The `target` of a note, which a command gives: it cannot cancel what its sender may not command. Operators, who
/// write to the bucket themselves, need not name one.
fn noted_target(note: &[u8]) -> Option<String> {
    let note: serde_json::Value = serde_json::from_slice(note).ok()?;
    Some(note.get("target")?.as_str()?.to_owned())
}
