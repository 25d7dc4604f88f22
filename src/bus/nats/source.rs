//! Pulls commands and settles them.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_nats::client::Request;
use async_nats::jetstream;
use async_nats::jetstream::consumer::PullConsumer;
use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::{NatsBus, TIMEOUT};
use crate::bus::subject::{CONSUMER, Subjects};
use crate::bus::{Acker, Delivery, Error, Queue, Settlement};
use crate::event::Target;

/// Where commands are asked for.
const MSG_NEXT: &str = "$JS.API.CONSUMER.MSG.NEXT";
/// Begins the reasons that our own workers terminate with.
pub(super) const OURS: &str = "sailhand: ";

/// Longest interval between two requests for due commands: that of a waiting stream without any.
const DUE_INTERVAL: Duration = Duration::from_secs(1);
/// The interval after a request that found some. It doubles with each request that finds none. Without it, commands that
/// come back one by one would start only once a second.
const BUSY_INTERVAL: Duration = Duration::from_millis(50);
/// Longest time for the answer to a request that does not wait for messages.
const ANSWER: Duration = Duration::from_secs(5);

/// When the waiting stream is asked for due commands, and for how many.
#[derive(Debug)]
pub(super) struct DueTurns {
    next: Option<Instant>,
    interval: Duration,
    /// The last request took as many as it could, so there may be more.
    more: bool,
    /// The last request left no slot for the command stream.
    took_all: bool,
}

impl Default for DueTurns {
    fn default() -> Self {
        Self { next: None, interval: DUE_INTERVAL, more: false, took_all: false }
    }
}

impl DueTurns {
    /// How many due commands to ask for with `max` free slots, and how long the command stream may be waited for.
    /// Half of the slots at most, so that neither stream starves the other. With one slot they take turns.
    fn turn(&mut self, max: usize, wait: Duration, now: Instant) -> (usize, Duration) {
        let due = self.next.is_none_or(|next| next <= now);
        let is_other_turn = max == 1 && std::mem::take(&mut self.took_all);
        if !(due || self.more) || is_other_turn {
            let left = self.next.map_or(self.interval, |next| next.saturating_duration_since(now));
            return (0, if self.more { Duration::ZERO } else { wait.min(left) });
        }
        self.next = Some(now + self.interval);
        (max.div_ceil(2), wait)
    }

    /// Takes the answer into account; gives the longest wait for the command stream.
    fn took(&mut self, taken: usize, asked: usize, max: usize, now: Instant) -> Duration {
        self.interval = if taken > 0 { BUSY_INTERVAL } else { (self.interval * 2).min(DUE_INTERVAL) };
        self.next = Some(now + self.interval);
        self.more = taken == asked;
        self.took_all = taken == max;
        if self.more { Duration::ZERO } else { self.interval }
    }
}

/// Commands: due ones first, then those of the command stream.
pub(super) fn pull(bus: NatsBus, max: usize, wait: Duration) -> BoxStream<'static, Result<Delivery, Error>> {
    let bus = Arc::new(bus);
    let (asked, wait) = bus.due_turns().turn(max, wait, Instant::now());
    let due = {
        let bus = Arc::clone(&bus);
        async move {
            let (mut found, mut wait) = (Vec::new(), wait);
            if asked > 0 {
                let ended = bus.take_due(asked, &mut found).await;
                wait = wait.min(bus.due_turns().took(found.len(), asked, max, Instant::now()));
                if let Err(error) = ended {
                    found.push(Err(error));
                }
            }
            (found, wait)
        }
    };
    stream::once(due)
        .flat_map(move |(found, wait)| {
            let failed = found.last().is_some_and(Result::is_err);
            let rest = max - found.len().min(max);
            let commands = (rest > 0 && !failed).then(|| {
                let (cell, stream) = (Arc::clone(&bus.consumer), bus.subjects.command_stream());
                let request = if wait.is_zero() { Mode::Present } else { Mode::Wait(wait) };
                let bus = Arc::clone(&bus);
                batch(bus.context.clone(), cell, stream, CONSUMER, rest, request).map(move |message| {
                    message.map(|message| {
                        bus.healed(MSG_NEXT);
                        delivery(&bus, Queue::Commands, message)
                    })
                })
            });
            stream::iter(found).chain(stream::iter(commands).flatten())
        })
        .boxed()
}

impl NatsBus {
    fn due_turns(&self) -> std::sync::MutexGuard<'_, DueTurns> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the due commands that are there, at most `max`.
    async fn take_due(self: &Arc<Self>, max: usize, found: &mut Vec<Result<Delivery, Error>>) -> Result<(), Error> {
        let (cell, stream) = (Arc::clone(&self.due_consumer), self.subjects.waiting_stream());
        let mut batch = batch(self.context.clone(), cell, stream, CONSUMER, max, Mode::Present);
        while let Some(message) = batch.next().await {
            found.push(Ok(delivery(self, Queue::Waiting, message?)));
        }
        Ok(())
    }
}

/// What a pull does when there are fewer messages than it may take.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mode {
    /// It waits for more.
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
        // The client waits without end for the answer to a request that has no `expires`.
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
            // The client's own TERM carries no reason; the server takes one and puts it into its advisory.
            Settlement::Term(reason) => ("term", format!("+TERM {OURS}{}", reason.replace(['\r', '\n'], " "))),
        };
        let request = Request::new().payload(payload.into());
        self.bus.request(operation, &self.reply, request, TIMEOUT).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(2);

    #[tokio::test(start_paused = true)]
    async fn due_commands_and_new_ones_share_the_slots() {
        let mut turns = DueTurns::default();
        let now = Instant::now();
        assert_eq!(turns.turn(8, WAIT, now).0, 4, "the first pull asks for both");
        assert_eq!(turns.took(0, 4, 8, now), DUE_INTERVAL);
        assert_eq!(turns.turn(8, WAIT, now), (0, DUE_INTERVAL), "and not again within the interval");
        let later = now + DUE_INTERVAL;
        assert_eq!(turns.turn(8, WAIT, later).0, 4);
        assert_eq!(turns.took(4, 4, 8, later), Duration::ZERO);
        assert_eq!(turns.turn(8, WAIT, later).0, 4, "there may be more");
    }

    #[tokio::test(start_paused = true)]
    async fn due_commands_that_come_one_by_one_are_asked_for_often_until_there_are_none() {
        let mut turns = DueTurns::default();
        let mut now = Instant::now();
        assert_eq!(turns.turn(8, WAIT, now).0, 4);
        assert_eq!(turns.took(1, 4, 8, now), BUSY_INTERVAL);
        let mut intervals = Vec::new();
        for _ in 0..6 {
            now += DUE_INTERVAL;
            assert_eq!(turns.turn(8, WAIT, now).0, 4);
            intervals.push(turns.took(0, 4, 8, now).as_millis());
        }
        assert_eq!(intervals, [100, 200, 400, 800, 1000, 1000]);
    }

    #[tokio::test(start_paused = true)]
    async fn due_commands_and_new_ones_take_turns_on_one_slot() {
        let mut turns = DueTurns::default();
        let now = Instant::now();
        let mut asked = Vec::new();
        for _ in 0..4 {
            let (due, _) = turns.turn(1, WAIT, now);
            asked.push(due);
            if due > 0 {
                turns.took(1, 1, 1, now); // there always is one
            }
        }
        assert_eq!(asked, [1, 0, 1, 0]);
    }
}
