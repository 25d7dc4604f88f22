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

/// The newest dead letters that match a filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewestDeadLetters {
    /// In the order of their numbers, at most [`Filter::limit`].
    pub letters: Vec<DeadLetter>,
    /// Older ones that match and were read, but are above the limit.
    pub omitted: usize,
    /// No older one can match. Otherwise the scan ended before the beginning of the stream.
    pub is_complete: bool,
}

/// Messages that one request for the newest dead letters reads at most: about 10 s on a fast connection.
const MAX_SCAN: usize = 20_000;
/// Messages of one window at most. A window with more is read again as two.
const MAX_WINDOW: usize = 1024;

/// Reads a stream from its end in windows, because the server finds messages of a subject forward only.
struct Scan<'a> {
    filter: &'a Filter,
    first: u64,
    /// Everything from this sequence number on has been read.
    end: u64,
    span: u64,
    read: usize,
    letters: VecDeque<DeadLetter>,
    omitted: usize,
    is_complete: bool,
}

impl<'a> Scan<'a> {
    fn new(filter: &'a Filter, first: u64, last: u64) -> Self {
        let span = (filter.limit as u64).clamp(16, MAX_WINDOW as u64 - 1);
        let (letters, omitted) = (VecDeque::new(), 0);
        Self { filter, first, end: last + 1, span, read: 0, letters, omitted, is_complete: first > last }
    }

    /// The next window, its end excluded; `None` at the end of the scan.
    fn window(&self) -> Option<(u64, u64)> {
        let is_enough = self.is_complete || self.omitted > 0 || self.read >= MAX_SCAN;
        (!is_enough).then(|| (self.first.max(self.end.saturating_sub(self.span)), self.end))
    }

    /// Takes the messages of the window that begins at `start`.
    fn add(&mut self, start: u64, found: &[StreamMessage]) {
        self.read += found.len().max(1);
        if found.len() >= MAX_WINDOW {
            self.span /= 2;
            return;
        }
        for message in found.iter().rev() {
            let letter = read(message);
            if self.filter.since.is_some_and(|since| message.time < since) {
                // The messages of a stream are in the order of their times.
                self.is_complete = true;
            } else if self.filter.code.as_ref().is_none_or(|code| letter.code == *code) {
                if self.letters.len() < self.filter.limit {
                    self.letters.push_front(letter);
                } else {
                    self.omitted += 1;
                }
            }
        }
        self.is_complete |= start <= self.first;
        self.end = start;
        self.span = if found.is_empty() { self.span.saturating_mul(2) } else { self.span };
    }

    fn done(self) -> NewestDeadLetters {
        NewestDeadLetters { letters: self.letters.into(), omitted: self.omitted, is_complete: self.is_complete }
    }
}

impl Client {
    /// The newest dead letters that match, in the order of their numbers. Reads at most 20,000 messages of the stream, from
    /// its end; see [`NewestDeadLetters::is_complete`].
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub async fn newest_dead_letters(&self, filter: &Filter) -> Result<NewestDeadLetters, Error> {
        let any = "*".to_owned();
        let reason = filter.reason.as_ref().unwrap_or(&any);
        let subject = self.bus().subjects().dead_letter(reason, filter.target.as_ref().unwrap_or(&any), "*");
        let (first, last) = self.bus().sequences(&self.bus().subjects().dead_letter_stream()).await?;
        let mut scan = Scan::new(filter, first, last);
        while let Some((start, end)) = scan.window() {
            let mut found = Vec::new();
            let mut next = start;
            while found.len() < MAX_WINDOW
                && let Some(message) = self.next_dead(&subject, next).await?
                && message.sequence < end
            {
                next = message.sequence + 1;
                found.push(message);
            }
            scan.add(start, &found);
        }
        Ok(scan.done())
    }

    /// As [`Client::newest_dead_letters`], without what it left out.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub async fn dead_letters(&self, filter: &Filter) -> Result<Vec<DeadLetter>, Error> {
        Ok(self.newest_dead_letters(filter).await?.letters)
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

    fn message(sequence: u64) -> StreamMessage {
        let time = OffsetDateTime::UNIX_EPOCH + std::time::Duration::from_secs(sequence);
        StreamMessage {
            subject: format!("istio.dlq.rejected.dev.s{sequence}").into(),
            sequence,
            headers: async_nats::HeaderMap::new(),
            payload: "x".into(),
            time,
        }
    }

    /// Scans a stream with the numbers `kept`. Also the number of messages that were read.
    fn scan(filter: &Filter, kept: std::ops::RangeInclusive<u64>, last: u64) -> (NewestDeadLetters, usize) {
        let mut scan = Scan::new(filter, 1, last);
        let mut read = 0;
        while let Some((start, end)) = scan.window() {
            let found: Vec<_> = (start..end).filter(|n| kept.contains(n)).take(MAX_WINDOW).map(message).collect();
            read += found.len();
            scan.add(start, &found);
        }
        (scan.done(), read)
    }

    #[test]
    fn newest_dead_letters_are_found_without_reading_the_whole_stream() {
        let filter = Filter { limit: 100, ..Filter::default() };
        let (found, read) = scan(&filter, 1..=1_000_000, 1_000_000);
        assert_eq!(
            found.letters.iter().map(|letter| letter.sequence).collect::<Vec<_>>(),
            (999_901..=1_000_000).collect::<Vec<_>>()
        );
        assert!(found.omitted > 0 && !found.is_complete && read <= 300, "{read}");
        // The only ones are at the beginning.
        let (found, read) = scan(&filter, 3..=5, 10_000_000);
        assert_eq!(found.letters.len(), 3);
        assert!(found.is_complete && read <= 10, "{read}");
        // None has the code.
        let none = Filter { code: Some("SH3001".to_owned()), ..filter.clone() };
        let (found, read) = scan(&none, 1..=1_000_000, 1_000_000);
        assert!(found.letters.is_empty() && !found.is_complete);
        assert!(read <= MAX_SCAN + MAX_WINDOW, "{read}");
        let since =
            Filter { since: Some(OffsetDateTime::UNIX_EPOCH + std::time::Duration::from_secs(999_990)), ..filter };
        let (found, _) = scan(&since, 1..=1_000_000, 1_000_000);
        assert_eq!((found.letters.len(), found.omitted, found.is_complete), (11, 0, true));
        let none = std::ops::RangeInclusive::new(1, 0);
        assert_eq!(scan(&since, none, 0).0, NewestDeadLetters { is_complete: true, ..NewestDeadLetters::default() });
    }

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
