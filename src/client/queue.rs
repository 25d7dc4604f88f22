//! Results and events as a queue: a durable consumer remembers which of them a program has processed, so that neither a
//! restart nor a second replica of it loses one.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::{self, AckKind};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::watch::observe;
use super::{Client, Error, Observation};
use crate::bus;
use crate::bus::nats::{Undelivered, read_event};
use crate::error::Problem;

/// How long the server waits for an acknowledgment before it delivers a message again, in [`Client::result_queue`].
const ACK_WAIT: Duration = Duration::from_secs(30);
/// Messages that are delivered and not acknowledged, those that wait for a repetition included.
const MAX_PENDING: i64 = 256;
/// Longest time of one pull.
const PULL: Duration = Duration::from_secs(10);
/// A consumer that no program uses for so long is deleted, in [`Client::result_queue`].
const UNUSED: Duration = Duration::from_hours(7 * 24);

/// Which messages a queue has, and its times.
#[derive(Debug, Clone)]
pub struct QueueOptions {
    /// Name of the durable consumer: letters, digits, `-` and `_`.
    pub name: String,
    /// Kinds of events, such as `started`. Results if empty.
    pub kinds: Vec<String>,
    /// Ids of targets. All targets if empty.
    pub targets: Vec<String>,
    /// A message without an acknowledgment is delivered again after this time.
    pub ack_wait: Duration,
    /// A consumer that no program uses for so long is deleted, and what it has not delivered is no longer in the queue.
    pub unused: Duration,
}

/// A durable consumer of results or events.
pub struct Queue {
    consumer: PullConsumer,
    stream: String,
}

/// A message of the queue. Delivered again after [`QueueOptions::ack_wait`] without an acknowledgment.
pub struct QueuedMessage {
    /// Sequence in its stream.
    pub sequence: u64,
    /// When it was published.
    pub published: OffsetDateTime,
    /// Deliveries so far, from 1.
    pub delivered: u32,
    message: jetstream::Message,
}

impl Client {
    /// Creates or opens the durable consumer of all results with this name (letters, digits, `-` and `_`). A new one
    /// begins with the results that follow.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn result_queue(&self, name: &str) -> Result<Queue, Error> {
        self.queue(QueueOptions {
            name: name.to_owned(),
            kinds: Vec::new(),
            targets: Vec::new(),
            ack_wait: ACK_WAIT,
            unused: UNUSED,
        })
        .await
    }

    /// Creates, updates or opens a durable consumer. A new one begins with the messages that follow.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn queue(&self, options: QueueOptions) -> Result<Queue, Error> {
        let subjects = self.bus().subjects();
        let targets = if options.targets.is_empty() { vec!["*".to_owned()] } else { options.targets };
        let (stream, mut filters): (String, Vec<String>) = if options.kinds.is_empty() {
            (subjects.result_stream(), targets.iter().map(|target| subjects.results_of(target)).collect())
        } else {
            let kinds = |target: &String| {
                let target = target.clone();
                options.kinds.iter().map(move |kind| subjects.events_of_kind(&target, kind))
            };
            (subjects.event_stream(), targets.iter().flat_map(kinds).collect())
        };
        let filter_subject = if filters.len() == 1 { filters.swap_remove(0) } else { String::new() };
        let config = pull::Config {
            durable_name: Some(options.name),
            deliver_policy: DeliverPolicy::New,
            ack_policy: AckPolicy::Explicit,
            ack_wait: options.ack_wait,
            max_ack_pending: MAX_PENDING,
            inactive_threshold: options.unused,
            filter_subject,
            filter_subjects: filters,
            ..pull::Config::default()
        };
        let handle = self.bus().context().get_stream_no_info(&stream).await;
        let handle = handle.map_err(|error| failed("open a consumer", &stream, error.into()))?;
        let consumer = handle.create_consumer(config).await;
        let consumer = consumer.map_err(|error| failed("open a consumer", &stream, error.into()))?;
        Ok(Queue { consumer, stream })
    }

    /// Events of one kind, such as `retrying`, of all commands from now on, without end.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub async fn live_events(&self, kind: &str) -> Result<BoxStream<'static, Result<Observation, Error>>, Error> {
        let subjects = self.bus().subjects();
        let subject = subjects.events_of_kind("*", kind);
        let followed = self.follow(subjects.event_stream(), subject, DeliverPolicy::New).await?;
        Ok(followed.messages.filter_map(async |message| message.map(|it| it.observation).transpose()).boxed())
    }
}

impl Queue {
    /// The next messages as they arrive: at most `most`, for at most `wait`.
    ///
    /// # Errors
    /// When the server does not accept the request.
    pub async fn next(
        &self,
        most: usize,
        wait: Duration,
    ) -> Result<BoxStream<'static, Result<QueuedMessage, Error>>, Error> {
        let batch = self.consumer.batch().max_messages(most).expires(wait).messages().await;
        let batch = batch.map_err(|error| failed("pull", &self.stream, error.into()))?;
        let stream = self.stream.clone();
        let read = move |message: Result<jetstream::Message, _>| {
            message.map_err(|error| failed("pull", &stream, error)).and_then(QueuedMessage::read)
        };
        Ok(batch.map(read).boxed())
    }

    /// The messages as they arrive, without end. `batch` messages are delivered ahead of their reader.
    #[must_use]
    pub fn messages(self, batch: usize) -> BoxStream<'static, Result<QueuedMessage, Error>> {
        let batches = stream::try_unfold(self, move |queue| async move {
            let next = queue.next(batch, PULL).await?;
            Ok::<_, Error>(Some((next, queue)))
        });
        batches.try_flatten().boxed()
    }

    /// Number of messages that the consumer has not delivered, and of those that no program has acknowledged.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn waiting(&self) -> Result<u64, Error> {
        let info = self.consumer.get_info().await;
        let info = info.map_err(|error| failed("look at a consumer", &self.stream, error.into()))?;
        Ok(info.num_pending + info.num_ack_pending as u64)
    }
}

impl QueuedMessage {
    fn read(message: jetstream::Message) -> Result<Self, Error> {
        let info = message.info().map_err(|error| failed("pull", &message.subject, error))?;
        Ok(Self {
            sequence: info.stream_sequence,
            published: info.published,
            delivered: u32::try_from(info.delivered).unwrap_or(1),
            message,
        })
    }

    /// The result or event; absent when the message is not an event of the contract.
    #[must_use]
    pub fn observation(&self) -> Option<Observation> {
        observe(&self.message.subject, self.message.headers.as_ref(), &self.message.payload)
    }

    /// The CloudEvent; absent when the message is not one.
    #[must_use]
    pub fn event(&self) -> Option<Map<String, Value>> {
        read_event(self.message.headers.as_ref(), &self.message.payload).ok()
    }

    /// Subject that it was published on.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.message.subject
    }

    /// Removes the message from the queue.
    ///
    /// # Errors
    /// When there is no connection; the message is delivered again.
    pub async fn ack(&self) -> Result<(), Error> {
        self.settle(AckKind::Ack).await
    }

    /// Requests another delivery after a delay.
    ///
    /// # Errors
    /// When there is no connection; the message is delivered again anyway.
    pub async fn repeat_after(&self, delay: Duration) -> Result<(), Error> {
        self.settle(AckKind::Nak(Some(delay))).await
    }

    /// Stores the message as a dead letter, because a sink does not accept it, and removes it from the queue.
    ///
    /// # Errors
    /// When the server does not confirm; the message is delivered again.
    pub async fn dead_letter(&self, client: &Client, sink: &str, problem: &Problem) -> Result<(), Error> {
        let info = self.message.info().map_err(|error| failed("pull", &self.message.subject, error))?;
        let undelivered = Undelivered {
            sink,
            stream: info.stream,
            sequence: self.sequence,
            subject: &self.message.subject,
            payload: self.message.payload.clone(),
            deliveries: self.delivered,
            problem,
            time: OffsetDateTime::now_utc(),
        };
        client.bus().write_undelivered(&undelivered).await?;
        self.ack().await
    }

    async fn settle(&self, kind: AckKind) -> Result<(), Error> {
        self.message.ack_with(kind).await.map_err(|error| failed("ack", &self.message.subject, error))
    }
}

fn failed(operation: &'static str, subject: &str, source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    bus::Error::Request { operation, subject: subject.to_owned(), source }.into()
}
