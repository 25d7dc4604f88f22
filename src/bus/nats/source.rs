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
use crate::bus::subject::CONSUMER;
use crate::bus::{Acker, Delivery, Error, Settlement};

/// Where commands are asked for.
const MSG_NEXT: &str = "$JS.API.CONSUMER.MSG.NEXT";
/// Begins the reasons that our own workers terminate with.
pub(super) const OURS: &str = "sailhand: ";

/// Commands.
pub(super) fn pull(bus: NatsBus, max: usize, wait: Duration) -> BoxStream<'static, Result<Delivery, Error>> {
    let (cell, stream) = (Arc::clone(&bus.consumer), bus.subjects.command_stream());
    let context = bus.context.clone();
    let bus = Arc::new(bus);
    batch(context, cell, stream, CONSUMER, max, wait)
        .map(move |message| {
            message.map(|message| {
                bus.healed(MSG_NEXT);
                delivery(&bus, message)
            })
        })
        .boxed()
}

/// One explicit batch: a `messages()` stream would pull again by itself while every slot is busy (`tests/it_bus/facts.rs`).
pub(super) fn batch(
    context: jetstream::Context,
    consumer: Arc<OnceCell<PullConsumer>>,
    stream: String,
    name: &'static str,
    max: usize,
    wait: Duration,
) -> BoxStream<'static, Result<jetstream::Message, Error>> {
    let batch = async move {
        let fail = |source: Box<dyn std::error::Error + Send + Sync>| Error::Request {
            operation: "pull",
            subject: stream.clone(),
            source,
        };
        let consumer = consumer.get_or_try_init(|| context.get_consumer_from_stream(name, stream.as_str())).await;
        let consumer = consumer.map_err(|e| fail(e.into()))?;
        let batch = consumer.batch().max_messages(max).expires(wait).messages().await.map_err(|e| fail(e.into()))?;
        let stream = stream.clone();
        Ok::<_, Error>(batch.map(move |message| {
            message.map_err(|source| Error::Request { operation: "pull", subject: stream.clone(), source })
        }))
    };
    stream::once(batch)
        .flat_map(|batch| match batch {
            Ok(batch) => batch.left_stream(),
            Err(error) => stream::iter([Err(error)]).right_stream(),
        })
        .boxed()
}

fn delivery(bus: &Arc<NatsBus>, message: jetstream::Message) -> Delivery {
    let (delivered, sequence) =
        message.info().map_or((1, 0), |info| (u64::try_from(info.delivered).unwrap_or(1), info.stream_sequence));
    let message = message.message; // not `split`: that takes the reply subject, by which it is settled, away
    let headers = message
        .headers
        .iter()
        .flat_map(|headers| headers.iter())
        .flat_map(|(name, values)| values.iter().map(|value| (name.to_string(), value.as_str().to_owned())));
    Delivery {
        address: bus.subjects.parse_command(&message.subject),
        subject: message.subject.to_string(),
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
            // The client's own TERM carries no reason; the server takes one and puts it into its advisory.
            Settlement::Term(reason) => ("term", format!("+TERM {OURS}{}", reason.replace(['\r', '\n'], " "))),
        };
        let request = Request::new().payload(payload.into());
        self.bus.request(operation, &self.reply, request, TIMEOUT).await.map(|_| ())
    }
}
