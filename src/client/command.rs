//! Reads one command on one target: its result and its events, one at a time. Direct gets, no consumer.

use super::watch::{Observation, observe};
use super::{Client, Error, Observed};
use crate::event::CommandId;

/// One stored event of a command.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// Sequence in the stream of events.
    pub sequence: u64,
    /// The event; absent when the message is not an event of the contract.
    pub observation: Option<Observation>,
}

impl Client {
    /// The result of a command on a target, if it has ended.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub async fn result_of(&self, command: &CommandId) -> Result<Option<Observation>, Error> {
        let subjects = self.bus().subjects();
        let last = self.observed_last(&subjects.result_stream(), &subjects.result(command)).await?;
        Ok(last.filter(|it| matches!(it.observed, Observed::Result(_))))
    }

    /// The newest event of a command on a target.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub async fn last_event_of(&self, command: &CommandId) -> Result<Option<Observation>, Error> {
        let subjects = self.bus().subjects();
        self.observed_last(&subjects.event_stream(), &subjects.events_of_command(command)).await
    }

    /// The first event of a command on a target after a sequence of the stream of events; 0 for its first event.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub async fn next_event_of(&self, command: &CommandId, after: u64) -> Result<Option<StoredEvent>, Error> {
        let subjects = self.bus().subjects();
        let from = after.saturating_add(1);
        let next = self.bus().next(&subjects.event_stream(), &subjects.events_of_command(command), from).await?;
        Ok(next.map(|message| StoredEvent {
            sequence: message.sequence,
            observation: observe(&message.subject, Some(&message.headers), &message.payload),
        }))
    }
}
