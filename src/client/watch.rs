//! Follows commands: stored events and results first, then new ones.

use std::time::Duration;

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::push::{self, OrderedErrorKind};
use futures::stream::{self, BoxStream, StreamExt};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::{Client, Error};
use crate::bus::{self, nats::read_event};
use crate::clock::Clock;
use crate::event::{self, CommandId, CommandKey, DEAD_LETTERED, EventKind, ResultData, TYPE_PREFIX};
use crate::retry;

/// One event or result.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The command's key.
    pub key: CommandKey,
    /// The cluster.
    pub target: String,
    /// The CloudEvent as it was published.
    pub event: Value,
    /// The parsed event.
    pub observed: Observed,
}

impl Observation {
    /// A CloudEvents attribute with a string value; empty when the event does not have it.
    #[must_use]
    pub fn attribute(&self, name: &str) -> &str {
        self.event.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// The verb of a result; `None` for other events.
    #[must_use]
    pub fn result_verb(&self) -> Option<&str> {
        event::verb_and_version(self.attribute("type"), "result").map(|(verb, _)| verb)
    }
}

/// A parsed event.
#[derive(Debug, Clone, PartialEq)]
pub enum Observed {
    /// An event of a running command.
    Event(EventKind),
    /// The result of the command.
    Result(Box<ResultData>),
    /// An event of a newer version of the contract, which this version does not know.
    Unknown,
}

/// A message with its position in the stream, by which a result is ordered after all events of its command.
pub(super) struct FollowedMessage {
    pub(super) sequence: u64,
    published: OffsetDateTime,
    /// Stored messages after it.
    pub(super) pending: u64,
    /// `None` for a message that is not an event of the contract. Observers skip it.
    pub(super) observation: Option<Observation>,
}

/// Stored messages, then new ones.
pub(super) struct FollowedStream {
    pub(super) messages: BoxStream<'static, Result<FollowedMessage, Error>>,
    /// Number of stored messages.
    pub(super) pending: u64,
}

/// Tries to create a consumer while the server is connected but does not answer, for example during a reload of its
/// configuration or the election of a leader: some seconds.
const TRIES: u32 = 6;
/// Longest time by which messages of one stream may arrive before those of the other.
const MAX_SKEW: Duration = Duration::from_millis(100);

impl Client {
    /// All events of one command, then its result; ends after the result.
    #[must_use]
    pub fn watch_command(&self, key: &CommandKey) -> BoxStream<'_, Result<Observation, Error>> {
        let key = key.clone();
        let ordered = async move {
            let subjects = self.bus().subjects();
            let events = self.follow(subjects.event_stream(), subjects.events_of(&key), DeliverPolicy::All).await?;
            let results = self.follow(subjects.result_stream(), subjects.result_of(&key), DeliverPolicy::All).await?;
            Ok::<_, Error>(self.in_order(key, events.messages, results.messages))
        };
        stream::once(ordered)
            .flat_map(|ordered| match ordered {
                Ok(observations) => observations.left_stream(),
                Err(error) => stream::iter([Err(error)]).right_stream(),
            })
            .boxed()
    }

    /// All events and results since `since`, in the order of publication, without end.
    ///
    /// # Errors
    /// When the streams cannot be read.
    pub async fn watch_all(
        &self,
        since: OffsetDateTime,
    ) -> Result<BoxStream<'static, Result<Observation, Error>>, Error> {
        let subjects = self.bus().subjects();
        let from = DeliverPolicy::ByStartTime { start_time: since };
        let events = self.follow(subjects.event_stream(), subjects.events(), from).await?;
        let results = self.follow(subjects.result_stream(), subjects.results(), from).await?;
        Ok(by_time(events, results, since))
    }

    /// Orders the result after all events. Events and results are in two streams, so when the result arrives, events before it
    /// may not have arrived. A worker publishes no event after the result, so the last event is looked up then.
    fn in_order<'a>(
        &'a self,
        key: CommandKey,
        events: BoxStream<'static, Result<FollowedMessage, Error>>,
        results: BoxStream<'static, Result<FollowedMessage, Error>>,
    ) -> BoxStream<'a, Result<Observation, Error>> {
        struct OrderState {
            events: BoxStream<'static, Result<FollowedMessage, Error>>,
            results: BoxStream<'static, Result<FollowedMessage, Error>>,
            seen: u64,
            end: Option<(Observation, u64)>,
        }
        let state = OrderState { events, results, seen: 0, end: None };
        stream::try_unfold(Some(state), move |state| {
            let key = key.clone();
            async move {
                let Some(mut state) = state else { return Ok(None) };
                loop {
                    if let Some((result, last)) = state.end.take() {
                        if state.seen >= last {
                            return Ok(Some((result, None)));
                        }
                        state.end = Some((result, last));
                    }
                    tokio::select! {
                        biased;
                        event = state.events.next() => {
                            let Some(message) = event.transpose()? else { return Ok(None) };
                            state.seen = message.sequence;
                            if let Some(event) = message.observation {
                                return Ok(Some((event, Some(state))));
                            }
                        }
                        result = state.results.next(), if state.end.is_none() => {
                            let Some(message) = result.transpose()? else { return Ok(None) };
                            if let Some(result) = message.observation {
                                state.end = Some((result, self.last_event(&key).await?));
                            }
                        }
                    }
                }
            }
        })
        .boxed()
    }

    /// Sequence number of the last event of the command, 0 when it has none.
    async fn last_event(&self, key: &CommandKey) -> Result<u64, Error> {
        let subjects = self.bus().subjects();
        let last = self.bus().last(&subjects.event_stream(), &subjects.events_of(key)).await?;
        Ok(last.map_or(0, |message| message.sequence))
    }

    /// Creates a consumer. Waits during an outage, as it does after the start.
    async fn follow_with_retries(
        &self,
        stream: &str,
        filter: &str,
        deliver_policy: DeliverPolicy,
    ) -> Result<(push::Ordered, u64), Error> {
        let mut health = self.bus().health();
        let mut failures = 0;
        loop {
            let losses = health.borrow_and_update().losses;
            let error = match self.bus().follow(stream, filter, deliver_policy).await {
                Ok(followed) => return Ok(followed),
                Err(error) => error,
            };
            let was_lost = health.borrow().losses != losses || !health.borrow().connected;
            if was_lost {
                if health.wait_for(|health| health.connected).await.is_err() {
                    return Err(error.into());
                }
                continue;
            }
            failures += 1;
            if failures >= TRIES || !matches!(error, bus::Error::Request { .. }) {
                return Err(error.into());
            }
            Clock::system().sleep(retry::IN_PLACE.delay(failures, None)).await;
        }
    }

    pub(super) async fn follow(
        &self,
        stream: String,
        filter: String,
        deliver_policy: DeliverPolicy,
    ) -> Result<FollowedStream, Error> {
        let (messages, pending) = self.follow_with_retries(&stream, &filter, deliver_policy).await?;
        let fail = move |source: Box<dyn std::error::Error + Send + Sync>| {
            Error::Bus(bus::Error::Request { operation: "follow", subject: filter.clone(), source })
        };
        let messages = messages
            .filter_map(move |message| {
                let read = match message {
                    Ok(message) => read(&message).map(Ok),
                    // The server did not answer for 10 s. The client continues after the last message when it is connected.
                    Err(error) if error.kind() == OrderedErrorKind::MissingHeartbeat => None,
                    Err(error) => Some(Err(fail(error.into()))),
                };
                async { read }
            })
            .boxed();
        Ok(FollowedStream { messages, pending })
    }
}

/// Merges the two streams. Stored messages are ordered by their time of publication. A new result waits [`MAX_SKEW`] for
/// events before it, which may not have arrived in the other stream.
fn by_time(
    events: FollowedStream,
    results: FollowedStream,
    since: OffsetDateTime,
) -> BoxStream<'static, Result<Observation, Error>> {
    struct Merge {
        events: FollowedStream,
        results: FollowedStream,
        event: Option<FollowedMessage>,
        result: Option<(FollowedMessage, Instant)>,
    }
    let merge = Merge { events, results, event: None, result: None };
    stream::try_unfold(merge, move |mut merge| async move {
        loop {
            let due = match (&merge.event, &merge.result) {
                (Some(event), Some((result, _))) => Some(event.published <= result.published),
                (Some(_), None) => (merge.results.pending == 0).then_some(true),
                (None, Some((_, at))) => (merge.events.pending == 0 && Instant::now() >= *at).then_some(false),
                (None, None) => None,
            };
            let next = match due {
                Some(true) => merge.event.take(),
                Some(false) => merge.result.take().map(|(result, _)| result),
                None => None,
            };
            if let Some(next) = next {
                match next.observation {
                    Some(observation) => return Ok(Some((observation, merge))),
                    None => continue,
                }
            }
            let at = merge.result.as_ref().map(|(_, at)| *at).filter(|_| merge.events.pending == 0);
            tokio::select! {
                biased;
                event = merge.events.messages.next(), if merge.event.is_none() => {
                    let Some(event) = event.transpose()? else { return Ok(None) };
                    merge.events.pending = event.pending;
                    // A client that had received no message before an outage starts at the first stored message again.
                    merge.event = Some(event).filter(|event| event.published >= since);
                }
                result = merge.results.messages.next(), if merge.result.is_none() => {
                    let Some(result) = result.transpose()? else { return Ok(None) };
                    merge.results.pending = result.pending;
                    // Old results need not wait one after the other.
                    let age = Duration::try_from(Clock::system().now() - result.published).unwrap_or_default();
                    let at = Instant::now() + MAX_SKEW.saturating_sub(age);
                    merge.result = Some((result, at)).filter(|(result, _)| result.published >= since);
                }
                () = tokio::time::sleep_until(at.unwrap_or_else(Instant::now)), if at.is_some() => {}
            }
        }
    })
    .boxed()
}

pub(super) fn read(message: &async_nats::jetstream::Message) -> Option<FollowedMessage> {
    let info = message.info().ok()?;
    let (sequence, published, pending) = (info.stream_sequence, info.published, info.pending);
    let observation = observe(&message.subject, message.headers.as_ref(), &message.payload);
    Some(FollowedMessage { sequence, published, pending, observation })
}

pub(super) fn observe(subject: &str, headers: Option<&async_nats::HeaderMap>, payload: &[u8]) -> Option<Observation> {
    // <prefix>.evt.<target>.<key>.<kind> or <prefix>.res.<target>.<key>
    let tokens: Vec<&str> = subject.split('.').collect();
    let (target, key, kind) = match tokens[..] {
        [_, "evt", target, key, kind] => (target, key, Some(kind)),
        [_, "res", target, key] => (target, key, None),
        _ => return None,
    };
    let event = read_event(headers, payload).ok()?;
    Some(Observation {
        key: key.parse().ok()?,
        target: target.to_owned(),
        observed: observed(kind, &event),
        event: Value::Object(event),
    })
}

/// An event or a result of a command that this process executes.
#[must_use]
pub fn observation(command: &CommandId, event: Map<String, Value>) -> Observation {
    let ty = event.get("type").and_then(Value::as_str).and_then(|ty| ty.strip_prefix(TYPE_PREFIX)).unwrap_or_default();
    let kind = ty.strip_prefix(".event.").map(|kind| kind.trim_end_matches(".v1"));
    let observed = observed(kind, &event);
    Observation { key: command.key.clone(), target: command.target.to_string(), observed, event: Value::Object(event) }
}

/// Parses an event. A result has no kind.
fn observed(kind: Option<&str>, event: &Map<String, Value>) -> Observed {
    let observed = match kind {
        None => data(event).map(|data| Observed::Result(Box::new(data))),
        Some("started") => data(event).map(|data| Observed::Event(EventKind::Started(data))),
        Some("progress") => data(event).map(|data| Observed::Event(EventKind::Progress(data))),
        Some("retrying") => data(event).map(|data| Observed::Event(EventKind::Retrying(data))),
        Some(DEAD_LETTERED) => data(event).map(|data| Observed::Event(EventKind::DeadLettered(data))),
        Some("found") => data(event).map(|data| Observed::Event(EventKind::Found(data))),
        Some("resolved") => data(event).map(|data| Observed::Event(EventKind::Resolved(data))),
        Some("conformance_case") => data(event).map(|data| Observed::Event(EventKind::ConformanceCase(data))),
        Some("conformance_spec") => data(event).map(|data| Observed::Event(EventKind::ConformanceSpec(data))),
        Some("conformance_summary") => data(event).map(|data| Observed::Event(EventKind::ConformanceSummary(data))),
        Some("discovered") => data(event).map(|data| Observed::Event(EventKind::Discovered(data))),
        Some("changed") => data(event).map(|data| Observed::Event(EventKind::Changed(data))),
        Some("lost") => data(event).map(|data| Observed::Event(EventKind::Lost(data))),
        Some(_) => None,
    };
    observed.unwrap_or(Observed::Unknown)
}

fn data<T: DeserializeOwned>(event: &Map<String, Value>) -> Option<T> {
    serde_json::from_value(event.get("data")?.clone()).ok()
}
