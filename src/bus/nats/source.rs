//! Pulls commands and settles them.

use std::sync::Arc;
use std::time::Duration;

use async_nats::client::Request;
use async_nats::jetstream;
use async_nats::jetstream::consumer::PullConsumer;
use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::OnceCell;

use super::{NatsBus, TIMEOUT};
use crate::bus::subject::{CONSUMER, Subjects};
use crate::bus::{Acker, Delivery, Error, Queue, Settlement};
use crate::event::Target;

/// Subject of pull requests.
const MSG_NEXT: &str = "$JS.API.CONSUMER.MSG.NEXT";
/// Prefix of the reasons with which workers terminate messages.
pub(super) const OURS: &str = "sailhand: ";

/// Timeout of a pull request that does not wait for messages.
const ANSWER: Duration = Duration::from_secs(5);

/// Commands of one stream.
pub(super) fn pull(
    bus: NatsBus,
    queue: Queue,
    max: usize,
    wait: Duration,
) -> BoxStream<'static, Result<Delivery, Error>> {
    let cell = match queue {
        Queue::Commands => Arc::clone(&bus.consumer),
        Queue::Waiting => Arc::clone(&bus.due_consumer),
    };
    let stream = bus.subjects.stream_of(queue);
    let mode = if wait.is_zero() { Mode::Present } else { Mode::Wait(wait) };
    let messages = batch(bus.context.clone(), cell, stream, CONSUMER, max, mode);
    let bus = Arc::new(bus);
    let deliver = move |message| {
        bus.clear_refusal(MSG_NEXT);
        delivery(&bus, queue, message)
    };
    messages.map(move |message| message.map(&deliver)).boxed()
}

/// What a pull does when fewer messages are available than requested.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mode {
    /// It waits for more, up to this time.
    Wait(Duration),
    /// It ends.
    Present,
}

/// One explicit batch: a `messages()` stream would pull again by itself while every slot is busy (`tests/it_bus/facts.rs`).
pub(super) fn batch(
    context: jetstream::Context,
    consumer: Arc<OnceCell<PullConsumer>>,
    stream: String,
    name: &'static str,
    max: usize,
    mode: Mode,
) -> BoxStream<'static, Result<jetstream::Message, Error>> {
    let batch = async move {
        let fail = |source: Box<dyn std::error::Error + Send + Sync>| Error::Request {
            operation: "pull",
            subject: stream.clone(),
            source,
        };
        let consumer = consumer.get_or_try_init(|| context.get_consumer_from_stream(name, stream.as_str())).await;
        let consumer = consumer.map_err(|e| fail(e.into()))?;
        let batch = match mode {
            Mode::Wait(wait) => consumer.batch().max_messages(max).expires(wait).messages().await,
            Mode::Present => consumer.fetch().max_messages(max).messages().await,
        };
        let batch = batch.map_err(|e| fail(e.into()))?;
        let stream = stream.clone();
        let messages = batch.map(move |message| {
            message.map_err(|source| Error::Request { operation: "pull", subject: stream.clone(), source })
        });
        // The client waits without a limit for the answer to a request without `expires`.
        let limit = match mode {
            Mode::Wait(_) => None,
            Mode::Present => Some(tokio::time::sleep(ANSWER)),
        };
        Ok::<_, Error>(match limit {
            None => messages.left_stream(),
            Some(limit) => messages.take_until(limit).right_stream(),
        })
    };
    stream::once(batch)
        .flat_map(|batch| match batch {
            Ok(batch) => batch.left_stream(),
            Err(error) => stream::iter([Err(error)]).right_stream(),
        })
        .boxed()
}

fn delivery(bus: &Arc<NatsBus>, queue: Queue, message: jetstream::Message) -> Delivery {
    let (delivered, sequence) =
        message.info().map_or((1, 0), |info| (u64::try_from(info.delivered).unwrap_or(1), info.stream_sequence));
    let message = message.message; // not `split`: that takes the reply subject, by which it is settled, away
    let headers = message
        .headers
        .iter()
        .flat_map(|headers| headers.iter())
        .flat_map(|(name, values)| values.iter().map(|value| (name.to_string(), value.as_str().to_owned())));
    let (address, subject) = addressed(&bus.subjects, queue, &message.subject);
    Delivery {
        queue,
        address,
        subject,
        headers: headers.collect(),
        delivered,
        sequence,
        acker: Arc::new(NatsAcker {
            bus: Arc::clone(bus),
            reply: message.reply.unwrap_or_else(|| "".into()).to_string(),
        }),
        payload: message.payload,
    }
}

/// Target and verb of a message, and the subject on which its command was sent.
pub(super) fn addressed(subjects: &Subjects, queue: Queue, subject: &str) -> (Option<(Target, String)>, String) {
    let address = match queue {
        Queue::Commands => subjects.parse_command(subject),
        Queue::Waiting => subjects.parse_due(subject),
    };
    let sent = address.as_ref().map_or_else(|| subject.to_owned(), |(target, verb)| subjects.command(target, verb));
    (address, sent)
}

pub(super) struct NatsAcker {
    pub(super) bus: Arc<NatsBus>,
    pub(super) reply: String,
}

#[async_trait]
impl Acker for NatsAcker {
    async fn keep_alive(&self) -> Result<(), Error> {
        let sent = self.bus.client.publish(self.reply.clone(), "+WPI".into()).await;
        sent.map_err(|source| Error::Request {
            operation: "keep alive",
            subject: self.reply.clone(),
            source: source.into(),
        })
    }

    async fn settle(&self, settlement: Settlement) -> Result<(), Error> {
        let (operation, payload) = match settlement {
            Settlement::Ack => ("ack", "+ACK".to_owned()),
            Settlement::Nak(delay) => ("nak", format!("-NAK {{\"delay\": {}}}", delay.as_nanos())),
            // The TERM of the client has no reason. The server accepts one and repeats it in its advisory.
            Settlement::Term(reason) => ("term", format!("+TERM {OURS}{}", reason.replace(['\r', '\n'], " "))),
        };
        let request = Request::new().payload(payload.into());
        self.bus.request(operation, &self.reply, request, TIMEOUT).await.map(|_| ())
    }
}
