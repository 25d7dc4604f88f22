//! Reads the state of one command.

use std::ops::ControlFlow;

use async_nats::jetstream::message::StreamMessage;
use serde_json::{Map, Value};

use super::watch::{Observation, observe};
use super::{Client, Error};
use crate::bus::{self, nats::read_event};
use crate::event::CommandKey;

/// State of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// It has ended, with this result.
    Ended(Observation),
    /// A worker has started it. The observation is its last event.
    Started(Observation),
    /// It is queued.
    Queued,
}

/// Maximum number of messages of a queue that are searched. Each needs one request of about 0.3 ms.
pub(super) const MAX_QUEUE: usize = 10_000;

impl Client {
    /// The state of a command: its result, otherwise its last event, otherwise whether it is queued.
    ///
    /// # Errors
    /// [`bus::Error::NotFound`] for an unknown command.
    pub async fn state(&self, key: &CommandKey) -> Result<State, Error> {
        if let Some(state) = self.reported(key).await? {
            return Ok(state);
        }
        match self.is_queued(key).await {
            Ok(true) => Ok(State::Queued),
            // It may have started and ended while the queues were read.
            Ok(false) => {
                let not_found = || bus::Error::NotFound { what: format!("command {key}") }.into();
                self.reported(key).await?.ok_or_else(not_found)
            }
            // Observers may not read the queues.
            Err(Error::Bus(bus::Error::Denied { .. })) => {
                let what = format!("an event or result of command {key} (the queue may not be read)");
                Err(bus::Error::NotFound { what }.into())
            }
            Err(error) => Err(error),
        }
    }

    /// The state of a command that has a result or an event.
    async fn reported(&self, key: &CommandKey) -> Result<Option<State>, Error> {
        let subjects = self.bus().subjects();
        if let Some(result) = self.observed_last(&subjects.result_stream(), &subjects.result_of(key)).await? {
            return Ok(Some(State::Ended(result)));
        }
        let event = self.observed_last(&subjects.event_stream(), &subjects.events_of(key)).await?;
        Ok(event.map(State::Started))
    }

    pub(super) async fn observed_last(&self, stream: &str, subject: &str) -> Result<Option<Observation>, Error> {
        let last = self.bus().last(stream, subject).await?;
        Ok(last.and_then(|message| observe(&message.subject, Some(&message.headers), &message.payload)))
    }

    /// Whether it waits in a schedule, whose subject contains its key, or in a queue, which is read from its start.
    async fn is_queued(&self, key: &CommandKey) -> Result<bool, Error> {
        let subjects = self.bus().subjects();
        let (stream, schedule) = (subjects.waiting_stream(), subjects.schedule_of(key));
        let is_scheduled = async || Ok::<_, Error>(self.bus().next(&stream, &schedule, 1).await?.is_some());
        if is_scheduled().await? {
            return Ok(true);
        }
        let [commands, _, due] = subjects.queues();
        let find =
            |queued, _: &_, _: &_| if queued == *key { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let found = self.visit_queues(&[commands, due], MAX_QUEUE, find).await?;
        // A worker may have scheduled it while the queues were read.
        Ok(found.is_break() || is_scheduled().await?)
    }

    /// Reads commands of queues, each given as stream and subject, until `each` breaks: the oldest first, at most `most` of a
    /// queue. Skips messages that are not events.
    pub(super) async fn visit_queues(
        &self,
        queues: &[(String, String)],
        most: usize,
        mut each: impl FnMut(CommandKey, &StreamMessage, &Map<String, Value>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        for (stream, filter) in queues {
            let mut next = 1;
            for _ in 0..most {
                let Some(message) = self.bus().next(stream, filter, next).await? else { break };
                next = message.sequence + 1;
                let Ok(event) = read_event(Some(&message.headers), &message.payload) else { continue };
                let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
                let visited = each(CommandKey::new(text("source"), text("id")), &message, &event);
                if visited.is_break() {
                    return Ok(visited);
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
