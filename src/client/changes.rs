//! Reads events and results for views: the changes of all commands as they are published, and the history of one.

use std::collections::VecDeque;

use async_nats::jetstream::consumer::DeliverPolicy;
use futures::stream::{self, BoxStream, StreamExt};
use time::OffsetDateTime;

use super::watch::{FollowedMessage, observe};
use super::{Client, Error, Observation, Observed};
use crate::event::{CommandKey, ResultData};

/// One event or result, with its position.
#[derive(Debug, Clone)]
pub struct Change {
    /// Whether it comes from the stream of results.
    pub is_result: bool,
    /// Sequence in its stream.
    pub sequence: u64,
    /// The event or result; absent when the message is not an event of the contract.
    pub observation: Option<Observation>,
}

/// Stored changes, then new ones.
pub struct Changes {
    /// Number of stored changes: the first so many of `messages`.
    pub stored: u64,
    /// Ends only with an error, or when the connection is closed.
    pub messages: BoxStream<'static, Result<Change, Error>>,
}

/// The events and the result of one command.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Events, then the result. The newest ones if there are too many.
    pub observations: Vec<Observation>,
    /// Number of older events that were left out.
    pub omitted: u64,
}

impl Client {
    /// Changes of all commands since a time. Unlike [`Client::watch_all`] it does not order a result after the events of
    /// its command, and therefore does not delay it.
    ///
    /// # Errors
    /// When the streams cannot be read.
    pub async fn changes(&self, since: OffsetDateTime) -> Result<Changes, Error> {
        let subjects = self.bus().subjects();
        let from = DeliverPolicy::ByStartTime { start_time: since };
        let events = self.read_and_follow(subjects.event_stream(), subjects.events(), from).await?;
        let results = self.read_and_follow(subjects.result_stream(), subjects.results(), from).await?;
        let stored = events.pending + results.pending;
        let change = |is_result| {
            move |message: Result<FollowedMessage, Error>| {
                message.map(|it| Change { is_result, sequence: it.sequence, observation: it.observation })
            }
        };
        let messages = stream::select(events.messages.map(change(false)), results.messages.map(change(true)));
        Ok(Changes { stored, messages: messages.boxed() })
    }

    /// The stored events and the result of a command, at most `most` events and about `bytes` bytes.
    ///
    /// # Errors
    /// When the streams cannot be read.
    pub async fn history(&self, key: &CommandKey, most: usize, bytes: usize) -> Result<History, Error> {
        let subjects = self.bus().subjects();
        let mut followed = self.follow(subjects.event_stream(), subjects.events_of(key), DeliverPolicy::All).await?;
        let (mut newest, mut size, mut omitted) = (VecDeque::new(), 0, 0);
        let mut left = followed.pending;
        while left > 0 {
            let Some(message) = followed.messages.next().await.transpose()? else { break };
            left = message.pending;
            let Some(observation) = message.observation else { continue };
            let length = observation.event.to_string().len();
            size += length;
            newest.push_back((length, observation));
            while newest.len() > most || size > bytes {
                let Some((length, _)) = newest.pop_front() else { break };
                size -= length;
                omitted += 1;
            }
        }
        let mut observations: Vec<_> = newest.into_iter().map(|(_, observation)| observation).collect();
        observations.extend(self.result(key).await?);
        Ok(History { observations, omitted })
    }

    /// The result of a command, if it has ended.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub async fn result(&self, key: &CommandKey) -> Result<Option<Observation>, Error> {
        let subjects = self.bus().subjects();
        let last = self.observed_last(&subjects.result_stream(), &subjects.result_of(key)).await?;
        Ok(last.filter(|it| matches!(it.observed, Observed::Result(_))))
    }

    /// The result of a command and its sequence in the stream of results.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub async fn result_with_sequence(&self, key: &CommandKey) -> Result<Option<(u64, ResultData)>, Error> {
        let subjects = self.bus().subjects();
        let Some(message) = self.bus().last(&subjects.result_stream(), &subjects.result_of(key)).await? else {
            return Ok(None);
        };
        let found = observe(&message.subject, Some(&message.headers), &message.payload);
        Ok(found.and_then(|it| match it.observed {
            Observed::Result(data) => Some((message.sequence, *data)),
            _ => None,
        }))
    }
}
