//! What is known of one command now.

use std::collections::BTreeSet;

use super::watch::{Observation, observe};
use super::{Client, Error};
use crate::bus::{self, nats::header_pairs};
use crate::event::{CommandKey, binding};

/// Where a command is.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// It has ended; the observation is its result.
    Ended(Observation),
    /// A worker has begun; the observation is its last event.
    Begun(Observation),
    /// It waits in the queue.
    Queued,
}

/// How far into the queue a command is looked for. Each message is one request of about 0.3 ms.
const MAX_QUEUE: usize = 10_000;

impl Client {
    /// The state of a command: its result, else its last event, else its place in the queue.
    ///
    /// # Errors
    /// [`bus::Error::NotFound`] for a command that nothing is known of.
    pub async fn state(&self, key: &CommandKey) -> Result<State, Error> {
        let subjects = self.bus().subjects();
        if let Some(result) = self.observed_last(&subjects.result_stream(), &subjects.result_of(key)).await? {
            return Ok(State::Ended(result));
        }
        if let Some(event) = self.observed_last(&subjects.event_stream(), &subjects.events_of(key)).await? {
            return Ok(State::Begun(event));
        }
        match self.is_queued(key).await {
            Ok(true) => Ok(State::Queued),
            Ok(false) => Err(bus::Error::NotFound { what: format!("command {key}") }.into()),
            // An observer reads what came of commands, and not the commands.
            Err(Error::Bus(bus::Error::Denied { .. })) => {
                let what = format!("an event or result of command {key} (the queue may not be read)");
                Err(bus::Error::NotFound { what }.into())
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn observed_last(&self, stream: &str, subject: &str) -> Result<Option<Observation>, Error> {
        let last = self.bus().last(stream, subject).await?;
        Ok(last.and_then(|message| observe(&message.subject, Some(&message.headers), &message.payload)))
    }

    /// Whether it waits in a schedule, which has its key, or in a queue, which is ordered by time and is read from its
    /// start.
    async fn is_queued(&self, key: &CommandKey) -> Result<bool, Error> {
        let subjects = self.bus().subjects();
        if self.bus().next(&subjects.waiting_stream(), &subjects.schedule_of(key), 1).await?.is_some() {
            return Ok(true);
        }
        let found = self.queued_keys(|queued| queued == key).await?;
        Ok(!found.is_empty())
    }

    /// The keys in the queues that `wanted` selects: commands that no worker has received, and waiting ones that are due.
    pub(super) async fn queued_keys(
        &self,
        wanted: impl Fn(&CommandKey) -> bool,
    ) -> Result<BTreeSet<CommandKey>, Error> {
        let subjects = self.bus().subjects();
        let mut found = BTreeSet::new();
        for (stream, filter) in
            [(subjects.command_stream(), subjects.commands()), (subjects.waiting_stream(), subjects.all_due())]
        {
            let mut next = 1;
            for _ in 0..MAX_QUEUE {
                let Some(message) = self.bus().next(&stream, &filter, next).await? else { break };
                let headers = header_pairs(&message.headers);
                let pairs = headers.iter().map(|(name, value)| (name.as_str(), *value));
                if let Ok(event) = binding::read(&pairs, &message.payload) {
                    let text = |name: &str| event.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
                    found.extend(Some(CommandKey::new(text("source"), text("id"))).filter(|key| wanted(key)));
                }
                next = message.sequence + 1;
            }
        }
        Ok(found)
    }
}
