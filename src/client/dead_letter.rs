//! Reads dead letters, sends them again, deletes them.

use std::collections::VecDeque;

use async_nats::jetstream::message::StreamMessage;
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Client, Error, Submitted};
use crate::bus;
use crate::bus::nats::{CUT, header_pairs};
use crate::event::{self, CommandDraft, binding};

/// A command that did not get done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// Its place in the stream; names it in commands.
    pub sequence: u64,
    /// Why: `rejected`, `exhausted`, `quarantined`, `max-deliveries` or `terminated`.
    pub reason: String,
    /// Code of the failure.
    pub code: String,
    /// Text of the failure.
    pub message: String,
    /// The subject it was sent on.
    pub subject: String,
    /// When it was given up, RFC 3339.
    pub time: String,
    /// Who gave it up.
    pub worker: String,
    /// How often it had been delivered.
    pub deliveries: u64,
    /// Its key, or `s` and its place in the queue when it has none.
    pub command: String,
    /// Size of the message in bytes, where only its beginning is stored. Such a command cannot be sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_from_bytes: Option<u64>,
    /// The event, where the message is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<Value>,
    /// The message as text, where it is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
}

/// Which dead letters.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only of this reason.
    pub reason: Option<String>,
    /// Only of this target.
    pub target: Option<String>,
    /// Only of this code.
    pub code: Option<String>,
    /// Only those kept since.
    pub since: Option<OffsetDateTime>,
    /// At most so many, the newest.
    pub limit: usize,
}

impl Client {
    /// The newest dead letters in the order of their numbers, and how many older ones were left out.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub async fn newest_dead_letters(&self, filter: &Filter) -> Result<(Vec<DeadLetter>, usize), Error> {
        let any = "*".to_owned();
        let reason = filter.reason.as_ref().unwrap_or(&any);
        let subject = self.bus().subjects().dead_letter(reason, filter.target.as_ref().unwrap_or(&any), "*");
        let mut letters = VecDeque::new();
        let mut omitted = 0;
        let mut next = 1;
        while let Some(message) = self.next_dead(&subject, next).await? {
            next = message.sequence + 1;
            let letter = read(&message);
            let of_code = filter.code.as_ref().is_none_or(|code| letter.code == *code);
            if of_code && filter.since.is_none_or(|since| message.time >= since) {
                letters.push_back(letter);
            }
            if letters.len() > filter.limit {
                letters.pop_front();
                omitted += 1;
            }
        }
        Ok((letters.into(), omitted))
    }

    /// The newest dead letters in the order of their numbers.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub async fn dead_letters(&self, filter: &Filter) -> Result<Vec<DeadLetter>, Error> {
        Ok(self.newest_dead_letters(filter).await?.0)
    }

    /// One dead letter.
    ///
    /// # Errors
    /// [`bus::Error::NotFound`] when there is none at that place.
    pub async fn dead_letter(&self, sequence: u64) -> Result<DeadLetter, Error> {
        let found = self.next_dead(&self.bus().subjects().dead_letters(), sequence).await?;
        let missing = || bus::Error::NotFound { what: format!("dead letter {sequence}") }.into();
        found.filter(|message| message.sequence == sequence).map(|message| read(&message)).ok_or_else(missing)
    }

    /// Sends the command of a dead letter again: the same event with a new id, so that it is another command with a
    /// result of its own, and with as much time as the first one had.
    ///
    /// # Errors
    /// A dead letter that is no command, or a server that does not confirm.
    pub async fn replay(&self, letter: &DeadLetter) -> Result<Submitted, Error> {
        let Some(event) = &letter.event else {
            let reason = match letter.cut_from_bytes {
                Some(bytes) => format!("dead letter {} has only the beginning of its {bytes} bytes", letter.sequence),
                None => format!("dead letter {} is none", letter.sequence),
            };
            return Err(event::Error::NotAnEvent { reason }.into());
        };
        let Some((target, verb)) = self.bus().subjects().parse_command(&letter.subject) else {
            let found = letter.subject.clone();
            return Err(event::Error::UnknownType { found }.into());
        };
        let text = |name: &str| event.get(name).and_then(Value::as_str).map(str::to_owned);
        let now = OffsetDateTime::now_utc();
        let generation = event.get("generation");
        let draft = CommandDraft {
            id: uuid::Uuid::new_v4().to_string(),
            source: text("source").unwrap_or_default(),
            verb,
            params: event.get("data").cloned().unwrap_or_else(|| Value::Object(serde_json::Map::new())),
            expiry: replay_expiry(text("time").as_deref(), text("expirytime").as_deref(), now),
            generation: generation.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok())),
            correlation: text("correlationid"),
            dataref: text("dataref"),
            replay_of: Some(text("id").unwrap_or_default()),
            traceparent: None,
        };
        self.submit(&target, draft).await
    }

    /// Deletes a dead letter; says whether it was still there.
    ///
    /// # Errors
    /// A server that does not do it.
    pub async fn purge(&self, letter: &DeadLetter) -> Result<bool, Error> {
        let stream = self.bus().subjects().dead_letter_stream();
        Ok(self.bus().remove(&stream, letter.sequence).await?)
    }

    async fn next_dead(&self, subject: &str, from: u64) -> Result<Option<StreamMessage>, Error> {
        let stream = self.bus().subjects().dead_letter_stream();
        Ok(self.bus().next(&stream, subject, from).await?)
    }
}

/// What is left of a dead letter's time is mostly too little for another attempt, so the same span begins anew. An
/// expiry without a beginning is kept while it lies ahead.
fn replay_expiry(time: Option<&str>, expiry: Option<&str>, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let read = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    let expiry = read(expiry?)?;
    match time.and_then(read) {
        // Beyond the calendar there is nothing later than the first one.
        Some(time) if time < expiry => Some(now.checked_add(expiry - time).unwrap_or(expiry)),
        _ => Some(expiry).filter(|expiry| *expiry > now),
    }
}

fn read(message: &StreamMessage) -> DeadLetter {
    let header = |name: &str| message.headers.get(name).map_or_else(String::new, |value| value.as_str().to_owned());
    let pairs = header_pairs(&message.headers);
    let event = binding::read(&pairs.iter().map(|(name, value)| (name.as_str(), *value)), &message.payload).ok();
    DeadLetter {
        sequence: message.sequence,
        reason: header("Istio-Dlq-Reason"),
        code: header("Istio-Dlq-Code"),
        message: header("Istio-Dlq-Message"),
        subject: header("Istio-Dlq-Subject"),
        time: header("Istio-Dlq-Time"),
        worker: header("Istio-Dlq-Worker"),
        deliveries: header("Istio-Dlq-Deliveries").parse().unwrap_or_default(),
        command: message.subject.rsplit('.').next().unwrap_or_default().to_owned(),
        cut_from_bytes: header(CUT).parse().ok().filter(|bytes| *bytes > message.payload.len() as u64),
        raw: if event.is_none() { Some(String::from_utf8_lossy(&message.payload).into_owned()) } else { None },
        event: event.map(Value::Object),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_has_as_much_time_as_the_command_had() {
        let at = |text: &str| OffsetDateTime::parse(text, &Rfc3339).unwrap();
        let now = at("2026-01-01T12:00:00Z");
        for (time, expiry, expected) in [
            (Some("2026-01-01T11:59:54Z"), Some("2026-01-01T12:00:00.1Z"), Some("2026-01-01T12:00:06.1Z")),
            (Some("2025-12-01T00:00:00Z"), Some("2025-12-01T00:01:00Z"), Some("2026-01-01T12:01:00Z")),
            (None, Some("2026-01-01T12:30:00Z"), Some("2026-01-01T12:30:00Z")),
            (None, Some("2026-01-01T11:30:00Z"), None),
            (Some("2026-01-01T11:59:54Z"), None, None),
            (Some("0000-01-01T00:00:00Z"), Some("9999-12-31T23:59:59Z"), Some("9999-12-31T23:59:59Z")),
        ] {
            assert_eq!(replay_expiry(time, expiry, now), expected.map(at), "{time:?} {expiry:?}");
        }
    }
}
