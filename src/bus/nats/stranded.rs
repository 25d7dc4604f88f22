//! Finds commands that NATS does not deliver again: by the advisories of the server, which a stream stores; and, after a lost
//! connection, by reading pending messages, because the client drops the connection over malformed headers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::client::Request;
use async_nats::jetstream::{self, consumer::PullConsumer};
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};

use super::source::{self, Mode, NatsAcker, OURS, addressed};
use super::{NatsBus, TIMEOUT};
use crate::bus::subject::{CONSUMER, SWEEPER};
use crate::bus::{Acker, Delivery, Error, Queue, Settlement, Stranded, StrandedCause, UnsettledAcker};

/// Pending messages that are read after a lost connection, oldest first.
const MAX_CHECKED: usize = 2_000;
/// "no message found".
const NO_MESSAGE: u64 = 10_037;

/// Advisory of the server about a message that it does not deliver again (`io.nats.jetstream.advisory.v1.max_deliver` and
/// `…terminated`).
#[derive(Deserialize)]
struct Advisory {
    r#type: String,
    stream: String,
    stream_seq: u64,
    #[serde(default)]
    deliveries: u64,
    #[serde(default)]
    reason: String,
}

/// See [`crate::bus::Bus::stranded`].
pub(super) fn stranded(bus: NatsBus, max: usize, wait: Duration) -> BoxStream<'static, Result<Stranded, Error>> {
    let unreadable = {
        let bus = bus.clone();
        async move {
            let losses = bus.health.borrow().losses;
            if bus.checked_losses.load(Ordering::Relaxed) == losses {
                return Vec::new();
            }
            match bus.unreadable().await {
                Ok(found) => {
                    bus.checked_losses.store(losses, Ordering::Relaxed);
                    found.into_iter().map(Ok).collect()
                }
                Err(error) => vec![Err(error)],
            }
        }
    };
    let (sweeper, stream) = (Arc::clone(&bus.sweeper), bus.subjects.advisory_stream());
    let advisories = source::batch(bus.context.clone(), sweeper, stream, SWEEPER, max, Mode::Wait(wait)).filter_map(
        move |message| {
            let bus = bus.clone();
            async move {
                match message {
                    Ok(message) => bus.stranded_by(message).await.transpose(),
                    Err(error) => Some(Err(error)),
                }
            }
        },
    );
    stream::once(unreadable).flat_map(stream::iter).chain(advisories).boxed()
}

impl NatsBus {
    /// The command of an advisory; `None` when nothing remains to be done for it.
    async fn stranded_by(&self, message: jetstream::Message) -> Result<Option<Stranded>, Error> {
        let reply = message.reply.clone().unwrap_or_else(|| "".into()).to_string();
        let advisory_acker = NatsAcker { bus: Arc::new(self.clone()), reply };
        let Ok(advisory) = serde_json::from_slice::<Advisory>(&message.payload) else {
            tracing::warn!("cannot parse an advisory of the server: {:?}", message.subject);
            return advisory_acker.settle(Settlement::Ack).await.map(|()| None);
        };
        let cause = if advisory.r#type.ends_with(".max_deliver") {
            StrandedCause::MaxDeliveries
        } else if advisory.reason.starts_with(OURS) {
            // A worker publishes the dead letter before it terminates a message.
            return advisory_acker.settle(Settlement::Ack).await.map(|()| None);
        } else {
            let reason = if advisory.reason.is_empty() { "without a reason" } else { &advisory.reason };
            StrandedCause::Terminated { reason: reason.to_owned() }
        };
        let is_waiting = advisory.stream == self.subjects.waiting_stream();
        let queue = if is_waiting { Queue::Waiting } else { Queue::Commands };
        let stream = self.subjects.stream_of(queue);
        let stored = self.stored(stream.clone(), &json!({ "seq": advisory.stream_seq })).await?;
        let acker = Removal { bus: self.clone(), stream, sequence: advisory.stream_seq, advisory: advisory_acker };
        let gone = || Stored {
            subject: message.subject.to_string(),
            sequence: advisory.stream_seq,
            headers: Ok(Vec::new()),
            payload: message.payload.clone(),
        };
        if stored.is_none() && cause == StrandedCause::MaxDeliveries {
            // Another worker has ended the command.
            return acker.settle(Settlement::Ack).await.map(|()| None);
        }
        let delivery = self.redelivery(queue, stored.unwrap_or_else(gone), advisory.deliveries, acker);
        Ok(Some(Stranded { cause, delivery }))
    }

    /// Pending messages with malformed headers. The client drops the connection when it receives one, so they would never be
    /// settled.
    async fn unreadable(&self) -> Result<Vec<Stranded>, Error> {
        let stream = self.subjects.command_stream();
        let fail = |source: Box<dyn std::error::Error + Send + Sync>| Error::Request {
            operation: "look up",
            subject: stream.clone(),
            source,
        };
        let mut consumer: PullConsumer =
            self.context.get_consumer_from_stream(CONSUMER, stream.as_str()).await.map_err(|e| fail(e.into()))?;
        let info = consumer.info().await.map_err(|e| fail(e.into()))?;
        let (mut next, last) = (info.ack_floor.stream_sequence + 1, info.delivered.stream_sequence);
        let mut found = Vec::new();
        for _ in 0..MAX_CHECKED {
            if next > last {
                break;
            }
            let query = json!({ "seq": next, "next_by_subj": self.subjects.commands() });
            let Some(stored) = self.stored(stream.clone(), &query).await?.filter(|stored| stored.sequence <= last)
            else {
                break;
            };
            next = stored.sequence + 1;
            if let Err(reason) = &stored.headers {
                let cause = StrandedCause::Unreadable { reason: reason.clone() };
                // The server only uses the sequence number (`tests/it_bus/facts.rs`). A deletion would cause an advisory about the
                // termination by another client.
                let reply = format!("$JS.ACK.{stream}.{CONSUMER}.1.{}.1.0.0", stored.sequence);
                let acker = Termination(NatsAcker { bus: Arc::new(self.clone()), reply });
                found.push(Stranded { cause, delivery: self.redelivery(Queue::Commands, stored, 1, acker) });
            }
        }
        Ok(found)
    }

    /// See [`crate::bus::Bus::peek`]. Skips messages with malformed headers.
    pub(super) async fn peek_message(&self, verb: &str, mut after: u64) -> Result<Option<Delivery>, Error> {
        loop {
            let query = json!({ "seq": after + 1, "next_by_subj": self.subjects.commands_of(verb) });
            let Some(stored) = self.stored(self.subjects.command_stream(), &query).await? else { return Ok(None) };
            if stored.headers.is_ok() {
                return Ok(Some(self.redelivery(Queue::Commands, stored, 1, UnsettledAcker)));
            }
            after = stored.sequence;
        }
    }

    fn redelivery(&self, queue: Queue, stored: Stored, delivered: u64, acker: impl Acker + 'static) -> Delivery {
        let (address, subject) = addressed(&self.subjects, queue, &stored.subject);
        Delivery {
            queue,
            address,
            subject,
            headers: stored.headers.unwrap_or_default(),
            payload: stored.payload,
            delivered,
            sequence: stored.sequence,
            acker: Arc::new(acker),
        }
    }

    /// A stored message as JSON with base64: the client can receive it whatever its headers contain.
    pub(super) async fn stored(&self, stream: String, query: &Value) -> Result<Option<Stored>, Error> {
        let subject = format!("$JS.API.STREAM.MSG.GET.{stream}");
        let request = Request::new().payload(query.to_string().into());
        let reply = self.request("get", &subject, request, TIMEOUT).await?;
        let malformed = |reason: String| Error::Malformed { what: format!("the answer on {subject}"), reason };
        let answer: Answer = serde_json::from_slice(&reply.payload).map_err(|error| malformed(error.to_string()))?;
        match answer {
            Answer { error: Some(error), .. } if error.err_code == NO_MESSAGE => Ok(None),
            Answer { error: Some(error), .. } => {
                Err(Error::Refused { operation: "get", subject, code: error.err_code, description: error.description })
            }
            Answer { message: Some(message), .. } => {
                let bytes = |text: &str| STANDARD.decode(text).map_err(|error| malformed(error.to_string()));
                Ok(Some(Stored {
                    headers: read_headers(&bytes(&message.hdrs)?),
                    payload: bytes(&message.data)?.into(),
                    subject: message.subject,
                    sequence: message.seq,
                }))
            }
            Answer { .. } => Err(malformed("it has neither a message nor an error".to_owned())),
        }
    }
}

/// A stored message.
pub(super) struct Stored {
    pub(super) subject: String,
    pub(super) sequence: u64,
    /// Or why no client reads them.
    pub(super) headers: Result<Vec<(String, String)>, String>,
    pub(super) payload: Bytes,
}

#[derive(Deserialize)]
struct Answer {
    message: Option<StoredMessage>,
    error: Option<super::publish::ApiError>,
}

#[derive(Deserialize)]
struct StoredMessage {
    subject: String,
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
}

/// Reads headers by the rules of the client (`async_nats::connection`), which refuses more than the server does.
fn read_headers(bytes: &[u8]) -> Result<Vec<(String, String)>, String> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "they are not UTF-8".to_owned())?;
    let mut lines = text.lines().peekable();
    let status = lines.next().and_then(|first| first.strip_prefix("NATS/1.0")).ok_or("they are not NATS/1.0")?.trim();
    let code = status.split_once(' ').map_or(status, |(code, _)| code.trim());
    if !code.is_empty() && code.parse::<async_nats::StatusCode>().is_err() {
        return Err("their status is not a status code".to_owned());
    }
    let mut headers = Vec::new();
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let (name, value) = line.split_once(':').ok_or("a line has no colon")?;
        if name.contains(|c: char| !c.is_ascii_graphic()) {
            return Err("a name is not made of visible ASCII characters".to_owned());
        }
        let mut value = value.trim_start().to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with(char::is_whitespace)) {
            value.push_str(more);
        }
        value.truncate(value.trim_end().len());
        headers.push((name.to_owned(), value));
    }
    Ok(headers)
}

/// Removes a message that is not pending, then its advisory.
struct Removal {
    bus: NatsBus,
    stream: String,
    sequence: u64,
    advisory: NatsAcker,
}

#[async_trait]
impl Acker for Removal {
    async fn keep_alive(&self) -> Result<(), Error> {
        self.advisory.keep_alive().await
    }

    async fn settle(&self, _: Settlement) -> Result<(), Error> {
        self.bus.remove(&self.stream, self.sequence).await?;
        self.advisory.settle(Settlement::Ack).await
    }
}

/// Terminates a pending message.
struct Termination(NatsAcker);

#[async_trait]
impl Acker for Termination {
    async fn keep_alive(&self) -> Result<(), Error> {
        self.0.keep_alive().await
    }

    async fn settle(&self, _: Settlement) -> Result<(), Error> {
        self.0.settle(Settlement::Term("moved to the dead letters".to_owned())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_the_client_reads_them_or_not_at_all() {
        let read = read_headers(b"NATS/1.0\r\nA: 1\r\nb:2\r\n more\r\n\r\n").unwrap();
        assert_eq!(read, [("A".to_owned(), "1".to_owned()), ("b".to_owned(), "2 more".to_owned())]);
        assert_eq!(read_headers(b"").unwrap(), []);
        for bad in [
            b"NATS/1.0\r\nA: \xff\r\n\r\n".as_slice(),
            b"HTTP/1.1\r\n\r\n",
            b"NATS/1.0 abc\r\n\r\n",
            b"NATS/1.0\r\nno colon\r\n\r\n",
            "NATS/1.0\r\nä: 1\r\n\r\n".as_bytes(),
            b"NATS/1.0\r\nA b: 1\r\n\r\n",
        ] {
            assert!(read_headers(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
