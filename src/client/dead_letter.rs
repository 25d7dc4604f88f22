//! Lists, replays and deletes dead letters.

use std::collections::VecDeque;

use async_nats::jetstream::message::StreamMessage;
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Client, Error, Submitted};
use crate::bus;
use crate::bus::nats::{CUT, UNDELIVERED, read_event};
use crate::event::{self, CommandDraft, CommandKey};

/// A command that was not executed, or not again, or a result or event that a sink did not accept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// Its sequence number in the stream, by which clients name it.
    pub sequence: u64,
    /// Why: `rejected`, `exhausted`, `quarantined`, `max-deliveries` or `terminated`; `undelivered`
    /// for a sink.
    pub reason: String,
    /// Code of the error.
    pub code: String,
    /// Text of the error.
    pub message: String,
    /// Subject of the message.
    pub subject: String,
    /// When the dead letter was published, RFC 3339.
    pub time: String,
    /// The worker that published it, or `sink <name>`.
    pub worker: String,
    /// Deliveries of the message.
    pub deliveries: u64,
    /// Key of the command. For a message without a key: `s` (command stream) or `w` (waiting stream) and its sequence
    /// number.
    pub command: String,
    /// Size of the message in bytes, if only its beginning is stored. Such a command cannot be replayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_from_bytes: Option<u64>,
    /// The event; `None` when the message is not an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<Value>,
    /// The message as text, when it is not an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
}

/// Selects dead letters.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Reason; `None` means all.
    pub reason: Option<String>,
    /// Target; `None` means all.
    pub target: Option<String>,
    /// Code of the error; `None` means all.
    pub code: Option<String>,
    /// Earliest time of publication; `None` means all.
    pub since: Option<OffsetDateTime>,
    /// Maximum number of dead letters; older ones are left out.
    pub limit: usize,
    /// Leaves out rejected commands: their senders have got the reason as a result. Messages without a key remain, because
    /// they have no result.
    pub without_rejected_commands: bool,
}

/// Some dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetters {
    /// In the order of their numbers.
    pub letters: Vec<DeadLetter>,
    /// How many older ones exceed the limit.
    pub older: usize,
    /// How many rejected commands were left out; see [`Filter::without_rejected_commands`].
    pub rejected: usize,
    /// The whole stream was read, as far as it can match. Otherwise the numbers above are those of its newer part.
    pub is_complete: bool,
}

/// Messages of the stream that one request for dead letters reads at most: about 10 s on a fast connection.
const MAX_SCAN: usize = 20_000;
/// Messages of one window at most. A window with more is read again as two.
const MAX_WINDOW: usize = 1024;
/// Bytes of messages of one window, after which it is read again as two, like one with too many messages.
const MAX_WINDOW_BYTES: usize = 16 << 20;

/// Reads a stream from its end in windows, because the server finds messages of a subject forward only.
struct Scan<'a> {
    filter: &'a Filter,
    first: u64,
    /// Everything from this sequence number on has been read.
    end: u64,
    span: u64,
    read: usize,
    letters: VecDeque<DeadLetter>,
    older: usize,
    rejected: usize,
    is_complete: bool,
}

impl<'a> Scan<'a> {
    fn new(filter: &'a Filter, first: u64, last: u64) -> Self {
        let (end, span) = (last + 1, MAX_WINDOW as u64 - 1);
        let is_complete = first > last;
        Self { filter, first, end, span, read: 0, letters: VecDeque::new(), older: 0, rejected: 0, is_complete }
    }

    /// The next window, its end excluded; `None` at the end of the scan.
    fn window(&self) -> Option<(u64, u64)> {
        let is_over = self.is_complete || self.read >= MAX_SCAN;
        (!is_over).then(|| (self.first.max(self.end.saturating_sub(self.span)), self.end))
    }

    /// Takes the messages of the window that begins at `start`.
    fn add(&mut self, start: u64, found: &[StreamMessage]) {
        self.read += found.len().max(1);
        if is_full(found) && self.span > 1 {
            self.span /= 2;
            return;
        }
        for message in found.iter().rev() {
            if self.filter.since.is_some_and(|since| message.time < since) {
                // The messages of a stream are in the order of their times.
                self.is_complete = true;
                break;
            }
            self.take(read(message));
        }
        self.is_complete |= start <= self.first;
        self.end = start;
        self.span = if found.is_empty() { self.span.saturating_mul(2) } else { self.span };
    }

    fn take(&mut self, letter: DeadLetter) {
        if self.filter.code.as_ref().is_some_and(|code| letter.code != *code) {
            return;
        }
        if self.filter.without_rejected_commands && letter.is_rejected_command() {
            self.rejected += 1;
        } else if self.letters.len() < self.filter.limit {
            self.letters.push_front(letter);
        } else {
            self.older += 1;
        }
    }

    fn done(self) -> DeadLetters {
        let Self { letters, older, rejected, is_complete, .. } = self;
        DeadLetters { letters: letters.into(), older, rejected, is_complete }
    }
}

/// Whether a window has no space for another message.
fn is_full(found: &[StreamMessage]) -> bool {
    found.len() >= MAX_WINDOW || found.iter().map(|message| message.payload.len()).sum::<usize>() >= MAX_WINDOW_BYTES
}

impl DeadLetter {
    /// Whether it is a command that a worker rejected: its sender has got a result.
    fn is_rejected_command(&self) -> bool {
        self.reason == "rejected" && self.command.parse::<CommandKey>().is_ok()
    }
}

impl Client {
    /// The newest dead letters, and how many were left out. Reads at most 20,000 messages, from the end of the stream.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub async fn newest_dead_letters(&self, filter: &Filter) -> Result<DeadLetters, Error> {
        let any = "*".to_owned();
        let reason = filter.reason.as_ref().unwrap_or(&any);
        let subject = self.bus().subjects().dead_letter(reason, filter.target.as_ref().unwrap_or(&any), "*");
        let (first, last) = self.bus().sequences(&self.bus().subjects().dead_letter_stream()).await?;
        let mut scan = Scan::new(filter, first, last);
        while let Some((start, end)) = scan.window() {
            let mut found = Vec::new();
            let mut next = start;
            while !is_full(&found)
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

    /// The newest dead letters, ordered by sequence number.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub async fn dead_letters(&self, filter: &Filter) -> Result<Vec<DeadLetter>, Error> {
        Ok(self.newest_dead_letters(filter).await?.letters)
    }

    /// One dead letter.
    ///
    /// # Errors
    /// [`bus::Error::NotFound`] when there is no dead letter with this sequence number.
    pub async fn dead_letter(&self, sequence: u64) -> Result<DeadLetter, Error> {
        let found = self.next_dead(&self.bus().subjects().dead_letters(), sequence).await?;
        let missing = || bus::Error::NotFound { what: format!("dead letter {sequence}") }.into();
        found.filter(|message| message.sequence == sequence).map(|message| read(&message)).ok_or_else(missing)
    }

    /// Replays a dead letter: sends its event with a new id, so that it is another command with its own result, and with the
    /// same time until it expires.
    ///
    /// # Errors
    /// When the dead letter is not a command, or the server does not confirm the message.
    pub async fn replay(&self, letter: &DeadLetter) -> Result<Submitted, Error> {
        let Some(event) = &letter.event else {
            let reason = match letter.cut_from_bytes {
                Some(bytes) => format!("dead letter {} has only the beginning of its {bytes} bytes", letter.sequence),
                None => format!("the message of dead letter {} is not an event", letter.sequence),
            };
            return Err(event::Error::NotAnEvent { reason }.into());
        };
        if letter.reason == UNDELIVERED {
            let reason = format!("dead letter {} is a message that {} did not accept", letter.sequence, letter.worker);
            return Err(event::Error::NotAnEvent { reason }.into());
        }
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

    /// Deletes a dead letter. Returns whether it existed.
    ///
    /// # Errors
    /// When the server does not confirm it.
    pub async fn purge(&self, letter: &DeadLetter) -> Result<bool, Error> {
        let stream = self.bus().subjects().dead_letter_stream();
        Ok(self.bus().remove(&stream, letter.sequence).await?)
    }

    async fn next_dead(&self, subject: &str, from: u64) -> Result<Option<StreamMessage>, Error> {
        let stream = self.bus().subjects().dead_letter_stream();
        Ok(self.bus().next(&stream, subject, from).await?)
    }
}

/// Expiry of a replayed command. The time that remained to a dead letter is usually too short for another attempt, so the
/// time between `time` and `expirytime` starts again. An expiry in an event without `time` remains if it is in the future.
fn replay_expiry(time: Option<&str>, expiry: Option<&str>, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let read = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    let expiry = read(expiry?)?;
    match time.and_then(read) {
        // A time after the end of the calendar: the expiry remains.
        Some(time) if time < expiry => Some(now.checked_add(expiry - time).unwrap_or(expiry)),
        _ => Some(expiry).filter(|expiry| *expiry > now),
    }
}

fn read(message: &StreamMessage) -> DeadLetter {
    let header = |name: &str| message.headers.get(name).map_or_else(String::new, |value| value.as_str().to_owned());
    let event = read_event(Some(&message.headers), &message.payload).ok();
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
    fn scan(filter: &Filter, kept: std::ops::RangeInclusive<u64>, last: u64) -> (DeadLetters, usize) {
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
        assert!(found.older > 0 && !found.is_complete && read <= MAX_SCAN + MAX_WINDOW, "{read}");
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
        assert_eq!((found.letters.len(), found.older, found.is_complete), (11, 0, true));
        let none = std::ops::RangeInclusive::new(1, 0);
        assert_eq!(scan(&since, none, 0).0, DeadLetters { is_complete: true, ..DeadLetters::default() });
    }

    #[test]
    fn window_of_large_messages_is_limited_in_bytes() {
        let payload = bytes::Bytes::from(vec![b'x'; 1 << 20]);
        let filter = Filter { limit: 3, ..Filter::default() };
        let mut scan = Scan::new(&filter, 1, 100);
        let mut most = 0;
        while let Some((start, end)) = scan.window() {
            let mut found = Vec::new();
            for sequence in start..end {
                if is_full(&found) {
                    break;
                }
                found.push(StreamMessage { payload: payload.clone(), ..message(sequence) });
            }
            most = most.max(found.len());
            scan.add(start, &found);
        }
        let found = scan.done();
        assert_eq!((most, found.letters.len(), found.older, found.is_complete), (16, 3, 97, true));
    }

    #[test]
    fn replay_has_the_time_of_the_command() {
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
