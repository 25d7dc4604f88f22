//! Reads streams with direct gets and ephemeral consumers, which need no write permission and no durable consumer.

use std::time::Duration;

use async_nats::client::Request;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::{
    AckPolicy, Consumer, DeliverPolicy, FromConsumer, IntoConsumerConfig, PullConsumer, pull, push,
};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{ConsumerErrorKind, DirectGetError, DirectGetErrorKind, Stream};
use async_nats::{HeaderMap, StatusCode, jetstream};
use futures::StreamExt;
use futures::future::ready;
use serde_json::{Map, Value};

use super::{NatsBus, TIMEOUT};
use crate::bus::Error;
use crate::event::{self, binding};

const GET: &str = "get";
const DIRECT_GET: &str = "$JS.API.DIRECT.GET";
const CONSUMER_CREATE: &str = "$JS.API.CONSUMER.CREATE";
const CONSUMER_NEXT: &str = "$JS.API.CONSUMER.MSG.NEXT";
/// Limits of [`NatsBus::stored_batch`]. A result has at most 1 MiB.
const BATCH: usize = 200;
const BATCH_BYTES: usize = 4 << 20;
/// The server deletes a consumer of stored messages from which nothing was read for so long.
const UNREAD: Duration = Duration::from_mins(1);

/// The attributes and `data` of the event of a message, in any mode.
///
/// # Errors
/// As [`binding::read`].
pub fn read_event(headers: Option<&HeaderMap>, payload: &[u8]) -> Result<Map<String, Value>, event::Error> {
    let headers = headers.into_iter().flat_map(HeaderMap::iter);
    let pairs: Vec<(String, &str)> =
        headers.flat_map(|(name, values)| values.iter().map(|value| (name.to_string(), value.as_str()))).collect();
    binding::read(&pairs.iter().map(|(name, value)| (name.as_str(), *value)), payload)
}

impl NatsBus {
    /// The last message of a subject, which may have wildcards. On a replicated stream it may be some milliseconds old, so
    /// writes that depend on it use compare-and-swap.
    ///
    /// # Errors
    /// When the server does not answer, or has no such stream.
    pub async fn last(&self, stream: &str, subject: &str) -> Result<Option<StreamMessage>, Error> {
        let handle = self.stream(stream, subject).await?;
        let api_subject = format!("{DIRECT_GET}.{stream}.{subject}");
        let found = self.unless_denied("get", &api_subject, handle.direct_get_last_for_subject(subject)).await?;
        found_or_none(found, stream, subject)
    }

    /// The headers of the last message of a subject, with one request. The future of the client's get needs 4 KiB of memory
    /// for each command.
    pub(super) async fn headers_of_last(&self, stream: &str, subject: &str) -> Result<Option<HeaderMap>, Error> {
        let api_subject = format!("{DIRECT_GET}.{stream}.{subject}");
        let reply = self.request(GET, &api_subject, Request::new(), TIMEOUT).await?;
        match reply.status {
            None => Ok(Some(reply.headers.unwrap_or_default())),
            Some(StatusCode::NOT_FOUND) => Ok(None),
            Some(status) => Err(Error::Request {
                operation: GET,
                subject: subject.to_owned(),
                source: format!("{status} {}", reply.description.unwrap_or_default()).into(),
            }),
        }
    }

    /// The first message of a subject, which may have wildcards, at or after a sequence number.
    ///
    /// # Errors
    /// As [`NatsBus::last`].
    pub async fn next(&self, stream: &str, subject: &str, from: u64) -> Result<Option<StreamMessage>, Error> {
        let handle = self.stream(stream, subject).await?;
        let api_subject = format!("{DIRECT_GET}.{stream}");
        let found =
            self.unless_denied("get", &api_subject, handle.direct_get_next_for_subject(subject, Some(from))).await?;
        found_or_none(found, stream, subject)
    }

    /// The sequence numbers of the first and of the last message of a stream. The first is above the last in a stream
    /// without messages.
    ///
    /// # Errors
    /// As [`NatsBus::last`].
    pub async fn sequences(&self, stream: &str) -> Result<(u64, u64), Error> {
        let asked = format!("$JS.API.STREAM.INFO.{stream}");
        let found = self.unless_denied("get", &asked, self.context.get_stream(stream)).await?;
        let found = found.map_err(|error| match error.kind() {
            GetStreamErrorKind::JetStream(cause) if cause.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                missing(stream)
            }
            _ => Error::Request { operation: "get", subject: stream.to_owned(), source: error.into() },
        })?;
        let state = &found.cached_info().state;
        Ok((state.first_sequence.max(1), state.last_sequence))
    }

    /// Follows the messages of a subject, in order, without end. Also returns how many are stored already.
    ///
    /// # Errors
    /// As [`NatsBus::last`].
    pub async fn follow(
        &self,
        stream: &str,
        subject: &str,
        deliver_policy: DeliverPolicy,
    ) -> Result<(push::Ordered, u64), Error> {
        let fail = |source: Box<dyn std::error::Error + Send + Sync>| Error::Request {
            operation: "follow",
            subject: subject.to_owned(),
            source,
        };
        let config = push::OrderedConfig {
            deliver_subject: self.client.new_inbox(),
            filter_subject: subject.to_owned(),
            deliver_policy,
            ..push::OrderedConfig::default()
        };
        let consumer = self.create_consumer(stream, subject, config).await?;
        let pending = consumer.cached_info().num_pending;
        #[allow(clippy::disallowed_methods, reason = "an ordered consumer has no acks that could wait behind slots")]
        let messages = consumer.messages().await.map_err(|error| fail(error.into()))?;
        Ok((messages, pending))
    }

    /// A consumer of the stored messages of a subject for [`NatsBus::stored_batch`], and their number. The server deletes it
    /// when nothing has been read for a minute.
    ///
    /// # Errors
    /// As [`NatsBus::last`].
    pub async fn stored_consumer(
        &self,
        stream: &str,
        subject: &str,
        deliver_policy: DeliverPolicy,
    ) -> Result<(PullConsumer, u64), Error> {
        let config = pull::Config {
            filter_subject: subject.to_owned(),
            deliver_policy,
            ack_policy: AckPolicy::None,
            inactive_threshold: UNREAD,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let consumer: PullConsumer = self.create_consumer(stream, subject, config).await?;
        let pending = consumer.cached_info().num_pending;
        Ok((consumer, pending))
    }

    /// The next messages, at most `BATCH` of them and `BATCH_BYTES` bytes. Empty when no message is stored, when the next one
    /// alone exceeds these bytes, or when the server has lost the consumer.
    ///
    /// # Errors
    /// When the server does not answer, or denies it.
    pub async fn stored_batch(&self, consumer: &PullConsumer, stream: &str) -> Result<Vec<jetstream::Message>, Error> {
        let fail = |source: Box<dyn std::error::Error + Send + Sync>| Error::Request {
            operation: "pull",
            subject: stream.to_owned(),
            source,
        };
        let name = &consumer.cached_info().name;
        let api_subject = format!("{CONSUMER_NEXT}.{stream}.{name}");
        let read = async {
            let batch = consumer.fetch().max_messages(BATCH).max_bytes(BATCH_BYTES).messages().await;
            // An error is the end of the batch: the bytes are used up, or the consumer is gone.
            let messages = batch.map_err(|error| fail(error.into()))?.take_while(|message| ready(message.is_ok()));
            Ok(messages.filter_map(|message| ready(message.ok())).collect().await)
        };
        let read = self.unless_denied("pull", &api_subject, tokio::time::timeout(TIMEOUT, read)).await?;
        read.map_err(|elapsed| fail(elapsed.into()))?
    }

    async fn create_consumer<C: IntoConsumerConfig + FromConsumer>(
        &self,
        stream: &str,
        subject: &str,
        config: C,
    ) -> Result<Consumer<C>, Error> {
        let handle = self.stream(stream, subject).await?;
        let api_subject = format!("{CONSUMER_CREATE}.{stream}");
        let consumer = self.unless_denied("follow", &api_subject, handle.create_consumer(config)).await?;
        consumer.map_err(|error| match error.kind() {
            ConsumerErrorKind::JetStream(cause) if cause.error_code() == ErrorCode::STREAM_NOT_FOUND => missing(stream),
            _ => Error::Request { operation: "follow", subject: subject.to_owned(), source: error.into() },
        })
    }

    /// Awaits a request of the client, or the denial of its subject, to which the server sends no answer.
    async fn unless_denied<T>(
        &self,
        operation: &'static str,
        subject: &str,
        answer: impl Future<Output = T>,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            answer = answer => Ok(answer),
            Some(reason) = self.denied(subject) => {
                Err(Error::Denied { operation, subject: subject.to_owned(), reason })
            }
        }
    }

    async fn stream(&self, stream: &str, subject: &str) -> Result<Stream<()>, Error> {
        self.context.get_stream_no_info(stream).await.map_err(|source| Error::Request {
            operation: "get",
            subject: subject.to_owned(),
            source: source.into(),
        })
    }
}

fn found_or_none(
    found: Result<StreamMessage, DirectGetError>,
    stream: &str,
    subject: &str,
) -> Result<Option<StreamMessage>, Error> {
    match found {
        Ok(message) => Ok(Some(message)),
        Err(error) => match error.kind() {
            DirectGetErrorKind::NotFound => Ok(None),
            DirectGetErrorKind::ErrorResponse(StatusCode::NO_RESPONDERS, _) => Err(missing(stream)),
            _ => Err(Error::Request { operation: "get", subject: subject.to_owned(), source: error.into() }),
        },
    }
}

fn missing(stream: &str) -> Error {
    Error::Drift { differences: vec![format!("stream {stream} is missing")] }
}
