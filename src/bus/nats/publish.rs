//! Writes to streams: headers, request, answer. Each write has a `Nats-Msg-Id` and is repeated with the same one, because an
//! ack can be lost although the message is stored (`tests/it_bus/facts.rs`).

use std::time::Duration;

use async_nats::client::Request;
use async_nats::{HeaderMap, Message as Reply, RequestErrorKind, header};
use bytes::Bytes;
use cloudevents::{AttributesReader, Event};
use serde::Deserialize;
use time::OffsetDateTime;

use super::{NatsBus, TIMEOUT};
use crate::bus::{DeadLetter, Delivery, Error, Subjects, Swap};
use crate::clock::Clock;
use crate::error::{Classify, Problem};
use crate::event::{CONTENT_TYPE, Origin, rfc3339};
use crate::{retry, telemetry};

/// Tries of one write before its error is returned.
const TRIES: u32 = 5;
/// Initial capacity for the JSON of an event, bytes. Most events fit.
const USUAL_SIZE: usize = 1024;
const PUBLISH: &str = "publish";
/// Headers of a message schedule: when and to which subject its message is published (nats-architecture-and-design ADR-51).
pub(super) const SCHEDULE: &str = "Nats-Schedule";
pub(super) const SCHEDULE_TARGET: &str = "Nats-Schedule-Target";
/// Headers of a result: the fingerprint of its command, so that it is read without the event.
pub(super) const COMMAND_VERB: &str = "Istio-Command-Verb";
pub(super) const COMMAND_DIGEST: &str = "Istio-Command-Digest";
/// Header of a dead letter that contains a part of its message: the size of the whole payload in bytes.
pub(crate) const CUT: &str = "Istio-Dlq-Cut";
/// "wrong last sequence" and, on a replicated stream, "wrong last sequence constant".
const WRONG_LAST_SEQUENCE: [u64; 2] = [10_071, 10_164];
/// "message size exceeds maximum allowed": the maximum message size of a stream.
const MESSAGE_TOO_LARGE: u64 = 10_054;

/// A unique message id: 128 random bits from the generator of the thread, without a system call.
pub(super) fn message_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// A message to a stream.
#[derive(Clone)]
pub(super) struct Message {
    pub subject: String,
    pub headers: HeaderMap,
    pub payload: Bytes,
}

impl Message {
    /// An event in structured mode; its id is the message id.
    pub fn event(subject: String, event: &Event) -> Result<Self, Error> {
        let mut payload = Vec::with_capacity(USUAL_SIZE);
        serde_json::to_writer(&mut payload, event)
            .map_err(|error| Error::Malformed { what: format!("event {}", event.id()), reason: error.to_string() })?;
        let mut headers = HeaderMap::new();
        headers.insert("Content-Type", CONTENT_TYPE);
        headers.insert(header::NATS_MESSAGE_ID, event.id());
        telemetry::inject(&mut |name, value| headers.insert(name, value));
        Ok(Self { subject, headers, payload: payload.into() })
    }

    /// The result of a command. Its message id is not the id of the event, because the result of another worker has the same
    /// event id: that one has to lose the compare-and-swap, and is not a repetition of this write.
    pub fn result(subject: String, origin: &Origin, event: &Event) -> Result<Self, Error> {
        let mut message = Self::event(subject, event)?;
        message.headers.insert(header::NATS_MESSAGE_ID, message_id());
        if let Some(fingerprint) = origin.fingerprint() {
            message.headers.insert(COMMAND_VERB, fingerprint.verb);
            message.headers.insert(COMMAND_DIGEST, fingerprint.digest);
        }
        Ok(message)
    }

    /// Lets the server delete the message after some time (nats-architecture-and-design ADR-43).
    pub fn expire_after(&mut self, time: Duration) {
        self.headers.insert(header::NATS_MESSAGE_TTL, format!("{}s", time.as_secs()));
    }

    /// A schedule in the waiting stream that publishes the command again (nats-architecture-and-design ADR-51). It replaces an
    /// earlier schedule of the command, because the server uses only the last message of a subject.
    ///
    /// The message id is random, so that no other writer of the stream can use it first: the server would answer
    /// `duplicate` and store nothing.
    pub fn scheduled(subjects: &Subjects, delivery: &Delivery, origin: &Origin, at: OffsetDateTime) -> Self {
        let command = origin.command();
        let mut headers = original_headers(delivery.header_pairs());
        headers.insert(SCHEDULE, format!("@at {}", rfc3339(at)));
        headers.insert(SCHEDULE_TARGET, subjects.due(&origin.target, &origin.verb));
        headers.insert(header::NATS_ROLLUP, "sub");
        headers.insert(header::NATS_MESSAGE_ID, message_id());
        Self { subject: subjects.schedule(&command), headers, payload: delivery.payload.clone() }
    }

    /// A dead letter: the payload and the headers of the message, and the reason.
    pub fn dead_letter(subjects: &Subjects, letter: &DeadLetter<'_>) -> Self {
        let delivery = letter.delivery;
        let (target, id) = letter.address();
        let mut headers = HeaderMap::new();
        let mut payload = delivery.payload.clone();
        match letter.most_bytes {
            None => headers = original_headers(delivery.header_pairs()),
            Some(most) => {
                headers.insert(CUT, payload.len().to_string());
                payload.truncate(most);
            }
        }
        let added = LetterHeaders {
            reason: letter.reason.as_str(),
            problem: letter.problem,
            subject: &delivery.subject,
            sequence: delivery.sequence,
            deliveries: delivery.delivered,
            worker: letter.worker,
            time: letter.time,
            message_id: format!("dlq.{id}.{}", letter.place()),
        };
        added.add_to(&mut headers);
        let subject = subjects.dead_letter(letter.reason.as_str(), target, &id);
        Self { subject, headers, payload }
    }
}

/// Headers of a dead letter beside those of its message.
pub(super) struct LetterHeaders<'a> {
    pub reason: &'a str,
    pub problem: &'a Problem,
    /// Subject of the message.
    pub subject: &'a str,
    /// Its sequence number in its stream.
    pub sequence: u64,
    /// Its deliveries.
    pub deliveries: u64,
    /// The worker, or `sink <name>`.
    pub worker: &'a str,
    pub time: OffsetDateTime,
    /// The same for each repeated publish.
    pub message_id: String,
}

impl LetterHeaders<'_> {
    pub fn add_to(self, headers: &mut HeaderMap) {
        for (name, value) in [
            ("Istio-Dlq-Reason", self.reason.to_owned()),
            ("Istio-Dlq-Code", self.problem.code.clone()),
            ("Istio-Dlq-Message", one_line(&self.problem.to_string())),
            ("Istio-Dlq-Subject", self.subject.to_owned()),
            ("Istio-Dlq-Stream-Seq", self.sequence.to_string()),
            ("Istio-Dlq-Deliveries", self.deliveries.to_string()),
            ("Istio-Dlq-Worker", self.worker.to_owned()),
            ("Istio-Dlq-Time", rfc3339(self.time)),
            ("Nats-Msg-Id", self.message_id),
        ] {
            headers.insert(name, value);
        }
    }
}

/// The text as the value of a header: without line breaks, 1,024 characters at most.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1024).collect()
}

/// Headers of the sender, without those that NATS interprets.
pub(super) fn original_headers<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        if !name.to_ascii_lowercase().starts_with("nats-") {
            headers.append(name, value);
        }
    }
    headers
}

/// The server's answer to a publish.
#[derive(Deserialize)]
struct PublishAck {
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    duplicate: bool,
    error: Option<ApiError>,
}

#[derive(Deserialize)]
pub(super) struct ApiError {
    pub(super) err_code: u64,
    pub(super) description: String,
}

impl NatsBus {
    /// Publishes until the server confirms. Returns the sequence number, and whether the message was a duplicate.
    pub(super) async fn publish(&self, message: Message) -> Result<(u64, bool), Error> {
        self.publish_counted(&message, &mut 0).await
    }

    /// Publishes a message with a unique id until the server confirms.
    ///
    /// # Errors
    /// As [`NatsBus::publish`], and when the server reports the first try as a duplicate: then it has stored nothing.
    pub(super) async fn publish_new(&self, message: Message) -> Result<(), Error> {
        let mut attempts = 0;
        let (_, duplicate) = self.publish_counted(&message, &mut attempts).await?;
        if duplicate && attempts == 1 {
            let source = "the server takes the message for a duplicate and has not stored it".into();
            return Err(Error::Request { operation: PUBLISH, subject: message.subject, source });
        }
        Ok(())
    }

    async fn publish_counted(&self, message: &Message, attempt: &mut u32) -> Result<(u64, bool), Error> {
        loop {
            *attempt += 1;
            let error = match self.publish_once(message).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            // A lost compare-and-swap is an answer, and a denied permission remains denied. Other errors may be temporary, for
            // example during the election of a leader.
            let is_about_message = match &error {
                Error::Refused { code, .. } => WRONG_LAST_SEQUENCE.contains(code),
                error => matches!(error, Error::TooLarge { .. }),
            };
            let is_final = is_about_message || matches!(error, Error::Denied { .. });
            if is_final || *attempt >= TRIES {
                if !is_about_message {
                    self.refused(&message.subject, &error);
                }
                return Err(error);
            }
            tracing::debug!(code = %error.code(), attempt, "{error}; publishing again");
            Clock::system().sleep(retry::IN_PLACE.delay(*attempt, None)).await;
        }
    }

    /// Publishes if `expected` is the sequence number of the last message of the subject (0: no message). A write whose answer
    /// was lost although it was stored counts as won: the server checks the sequence number before the message id, so it
    /// refuses the repetition, and the id of the stored message shows that this process wrote it.
    pub(super) async fn swap(&self, stream: &str, mut message: Message, expected: u64) -> Result<Swap, Error> {
        message.headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string());
        let mut attempts = 0;
        match self.publish_counted(&message, &mut attempts).await {
            Ok((sequence, _)) => Ok(Swap::Won(sequence)),
            Err(Error::Refused { code, .. }) if WRONG_LAST_SEQUENCE.contains(&code) => {
                if attempts > 1
                    && let Some(last) = Box::pin(self.last(stream, &message.subject)).await? // rare, and large
                    && last.headers.get(header::NATS_MESSAGE_ID) == message.headers.get(header::NATS_MESSAGE_ID)
                {
                    return Ok(Swap::Won(last.sequence));
                }
                Ok(Swap::Lost)
            }
            Err(error) => Err(error),
        }
    }

    async fn publish_once(&self, message: &Message) -> Result<(u64, bool), Error> {
        let request = Request::new().headers(message.headers.clone()).payload(message.payload.clone());
        let reply = self.request(PUBLISH, &message.subject, request, TIMEOUT).await?;
        let ack: PublishAck = serde_json::from_slice(&reply.payload).map_err(|source| Error::Request {
            operation: PUBLISH,
            subject: message.subject.clone(),
            source: source.into(),
        })?;
        match ack.error {
            None => {
                self.clear_refusal(&message.subject);
                Ok((ack.seq, ack.duplicate))
            }
            Some(error) if error.err_code == MESSAGE_TOO_LARGE => {
                Err(Error::TooLarge { subject: message.subject.clone(), reason: error.description })
            }
            Some(error) => Err(Error::Refused {
                operation: PUBLISH,
                subject: message.subject.clone(),
                code: error.err_code,
                description: error.description,
            }),
        }
    }

    /// A request over the shared inbox of the client. The double ack of the client would subscribe once for each ack.
    pub(super) async fn request(
        &self,
        operation: &'static str,
        subject: &str,
        request: Request,
        timeout: Duration,
    ) -> Result<Reply, Error> {
        let sent = self.client.send_request(subject.to_owned(), request.timeout(Some(timeout)));
        tokio::select! {
            biased;
            sent = sent => sent.inspect(|_| if operation != PUBLISH { self.clear_refusal(subject) }).map_err(|error| match error.kind() {
                RequestErrorKind::NoResponders if operation == PUBLISH => {
                    Error::Drift { differences: vec![format!("no stream has the subject {subject}")] }
                }
                RequestErrorKind::MaxPayloadExceeded => {
                    Error::TooLarge { subject: subject.to_owned(), reason: error.to_string() }
                }
                _ => Error::Request { operation, subject: subject.to_owned(), source: error.into() },
            }),
            Some(reason) = self.denied(subject) => {
                Err(Error::Denied { operation, subject: subject.to_owned(), reason })
            }
        }
    }

    /// Records for `/readyz` that the server refused a request. Denied permissions are recorded in `connect.rs`.
    fn refused(&self, subject: &str, error: &Error) {
        if !matches!(error, Error::Denied { .. }) {
            self.health.send_modify(|health| health.refuse(subject, Problem::new(error).to_string()));
        }
    }

    /// Completes when the server denies the subject after this call. The server does not answer a denied request; it reports
    /// the violation on the connection (`tests/it_bus/facts.rs`).
    pub(super) async fn denied(&self, subject: &str) -> Option<String> {
        let mut health = self.health.subscribe(); // does not see earlier violations
        loop {
            health.changed().await.ok()?;
            let quoted = format!("\"{subject}\"");
            if let Some(text) = health.borrow().denied.as_ref().filter(|text| text.contains(&quoted)) {
                return Some(text.clone());
            }
        }
    }
}
