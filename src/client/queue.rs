//! Results as a queue: a durable consumer stores which results a program has acknowledged, so that neither a restart nor
//! another replica processes a result twice.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::{self, AckKind};
use futures::stream::{BoxStream, StreamExt};
use time::OffsetDateTime;

use super::watch::observe;
use super::{Client, Error, Observation};
use crate::bus;

/// How long the server waits for an acknowledgment before it delivers a result again.
const ACK_WAIT: Duration = Duration::from_secs(30);
/// Results that are delivered and not acknowledged.
const MAX_PENDING: i64 = 256;
/// A consumer that no program uses for this time is deleted.
const UNUSED: Duration = Duration::from_hours(7 * 24);

/// A durable consumer of results.
pub struct ResultQueue {
    consumer: PullConsumer,
    stream: String,
}

/// A result of the queue. Delivered again after 30 s without an acknowledgment.
pub struct QueuedResult {
    /// Sequence in the stream of results.
    pub sequence: u64,
    /// When it was published.
    pub published: OffsetDateTime,
    /// Deliveries so far, from 1.
    pub delivered: u32,
    /// The result; absent when the message is not an event of the contract.
    pub observation: Option<Observation>,
    message: jetstream::Message,
}

impl Client {
    /// Creates or opens the durable consumer of this name (letters, digits, `-` and `_`). A new one
    /// delivers only later results.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn result_queue(&self, name: &str) -> Result<ResultQueue, Error> {
        let subjects = self.bus().subjects();
        let stream = subjects.result_stream();
        let config = pull::Config {
            durable_name: Some(name.to_owned()),
            deliver_policy: DeliverPolicy::New,
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: MAX_PENDING,
            inactive_threshold: UNUSED,
            filter_subject: subjects.results(),
            ..pull::Config::default()
        };
        let handle = self.bus().context().get_stream_no_info(&stream).await;
        let handle = handle.map_err(|error| failed("open a consumer", &stream, error.into()))?;
        let consumer = handle.create_consumer(config).await;
        let consumer = consumer.map_err(|error| failed("open a consumer", &stream, error.into()))?;
        Ok(ResultQueue { consumer, stream })
    }

    /// Events of one kind, such as `retrying`, of all commands from now on, without end.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub async fn live_events(&self, kind: &str) -> Result<BoxStream<'static, Result<Observation, Error>>, Error> {
        let subjects = self.bus().subjects();
        let subject = subjects.events_of_kind("*", kind);
        let followed = self.follow(subjects.event_stream(), subject, DeliverPolicy::New).await?;
        Ok(followed.messages.filter_map(async |placed| placed.map(|it| it.observation).transpose()).boxed())
    }
}

impl ResultQueue {
    /// The next results as they arrive: at most `most`, for at most `wait`.
    ///
    /// # Errors
    /// When the server does not accept the request.
    pub async fn next(
        &self,
        most: usize,
        wait: Duration,
    ) -> Result<BoxStream<'static, Result<QueuedResult, Error>>, Error> {
        let batch = self.consumer.batch().max_messages(most).expires(wait).messages().await;
        let batch = batch.map_err(|error| failed("pull", &self.stream, error.into()))?;
        let stream = self.stream.clone();
        let read = move |message: Result<jetstream::Message, _>| {
            message.map_err(|error| failed("pull", &stream, error)).and_then(QueuedResult::read)
        };
        Ok(batch.map(read).boxed())
    }
}

impl QueuedResult {
    fn read(message: jetstream::Message) -> Result<Self, Error> {
        let info = message.info().map_err(|error| failed("pull", &message.subject, error))?;
        Ok(Self {
            sequence: info.stream_sequence,
            published: info.published,
            delivered: u32::try_from(info.delivered).unwrap_or(1),
            observation: observe(&message.subject, message.headers.as_ref(), &message.payload),
            message,
        })
    }

    /// Removes the result from the queue.
    ///
    /// # Errors
    /// When there is no connection; the result is delivered again.
    pub async fn ack(&self) -> Result<(), Error> {
        self.settle(AckKind::Ack).await
    }

    /// Requests another delivery after a delay.
    ///
    /// # Errors
    /// When there is no connection; the result is delivered again anyway.
    pub async fn repeat_after(&self, delay: Duration) -> Result<(), Error> {
        self.settle(AckKind::Nak(Some(delay))).await
    }

    async fn settle(&self, kind: AckKind) -> Result<(), Error> {
        self.message.ack_with(kind).await.map_err(|error| failed("ack", &self.message.subject, error))
    }
}

fn failed(operation: &'static str, subject: &str, source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    bus::Error::Request { operation, subject: subject.to_owned(), source }.into()
}
