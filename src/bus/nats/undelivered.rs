//! Dead letters of sinks: results and events that an HTTP endpoint does not accept. They are in the stream of dead letters
//! beside those of commands, with the same headers.

use async_nats::HeaderMap;
use bytes::Bytes;
use time::OffsetDateTime;

use super::NatsBus;
use super::publish::{LetterHeaders, Message};
use crate::bus::Error;
use crate::error::Problem;
use crate::event::CONTENT_TYPE;

/// Reason of these dead letters, as in subjects.
pub const UNDELIVERED: &str = "undelivered";

/// A result or event that a sink does not accept.
pub struct Undelivered<'a> {
    /// Name of the sink.
    pub sink: &'a str,
    /// Stream of the message.
    pub stream: &'a str,
    /// Its sequence there.
    pub sequence: u64,
    /// Its subject: `istio.res.<target>.<key>` or `istio.evt.<target>.<key>.<kind>`.
    pub subject: &'a str,
    /// The CloudEvent in structured mode.
    pub payload: Bytes,
    /// Deliveries of the message to the gateway.
    pub deliveries: u32,
    /// Why the sink does not accept it.
    pub problem: &'a Problem,
    /// When it was given up.
    pub time: OffsetDateTime,
}

impl NatsBus {
    /// Stores a dead letter. A repetition for the same message and sink is a duplicate.
    ///
    /// # Errors
    /// When the server does not confirm it.
    pub async fn write_undelivered(&self, undelivered: &Undelivered<'_>) -> Result<(), Error> {
        let mut tokens = undelivered.subject.split('.').skip(2);
        let (target, key) = (tokens.next().unwrap_or("unknown"), tokens.next().unwrap_or("unknown"));
        let mut headers = HeaderMap::new();
        headers.insert("Content-Type", CONTENT_TYPE);
        let &Undelivered { sink, stream, sequence, subject, problem, deliveries, time, .. } = undelivered;
        let added = LetterHeaders {
            reason: UNDELIVERED,
            problem,
            subject,
            sequence,
            deliveries: deliveries.into(),
            worker: &format!("sink {sink}"),
            time,
            message_id: format!("{UNDELIVERED}.{sink}.{stream}.{sequence}"),
        };
        added.add_to(&mut headers);
        let subject = self.subjects().dead_letter(UNDELIVERED, target, key);
        let message = Message { subject, headers, payload: undelivered.payload.clone() };
        self.publish(message).await.map(|_| ())
    }
}
