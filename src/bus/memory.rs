//! A bus in memory with the contract of the real one: for `sailhand run`, which executes one command in one process, and,
//! with injected faults, for tests of the engine that need thousands of schedules. Its contract is checked against the
//! real server by `tests/it_bus/facts.rs`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cloudevents::{AttributesReader, Event};
use futures::stream::{self, BoxStream, StreamExt};
use time::OffsetDateTime;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::{
    Acker, AttemptRecord, Bus, Cancellation, Control, DeadLetter, Delivery, Error, Lease, LeaseName, Queue, RecordKey,
    ResultRecord, Retention, Settlement, Stranded, Subjects, Swap, UnsettledAcker,
};
use crate::clock::Clock;
use crate::event::{CommandId, Fingerprint, Origin, Target, dataref};

/// Decides by the name of an operation whether it fails.
pub type FaultInjector = Box<dyn FnMut(&'static str) -> Option<InjectedFault> + Send>;

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InjectedFault {
    /// It is not executed.
    Before,
    /// It is executed, and its answer is lost.
    After,
    /// It is executed after a delay, and other operations before it.
    Late(Duration),
}

/// A bus in memory. Clones share its state.
#[derive(Clone)]
pub struct MemoryBus {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
    control: Arc<Control>,
    subjects: Subjects,
    clock: Clock,
    ack_wait: Duration,
    lease_ttl: Duration,
    /// Whether this connection is interrupted.
    cut: Arc<watch::Sender<bool>>,
    /// Fence of every lease; a number that increases when absent.
    fence: Option<u64>,
    /// Number of events and results, for observers.
    published: Arc<watch::Sender<usize>>,
}

#[derive(Default)]
struct State {
    queue: BTreeMap<u64, Message>,
    sequence: u64,
    revision: u64,
    results: HashMap<CommandId, (Event, Option<Fingerprint>)>,
    /// Results that the real server deletes after [`super::SHORT_RETENTION`].
    short_retention: HashSet<CommandId>,
    events: Vec<Event>,
    leases: HashMap<LeaseName, (u64, Instant)>,
    attempts: HashMap<RecordKey, (AttemptRecord, u64)>,
    /// Reason, code and stored bytes.
    dead: Vec<(String, String, usize)>,
    objects: HashMap<String, Bytes>,
    attachments: HashMap<String, Bytes>,
    faults: Option<FaultInjector>,
    /// Largest result in bytes; `None` means no limit.
    max_result: Option<usize>,
}

impl State {
    fn add_event(&mut self, event: &Event) {
        if !self.events.iter().any(|known| known.id() == event.id()) {
            self.events.push(event.clone());
        }
    }
}

struct Message {
    queue: Queue,
    subject: String,
    headers: Vec<(String, String)>,
    payload: Bytes,
    delivered: u64,
    /// Not delivered before this: a delayed NAK, a running `ack_wait`, a schedule.
    not_before: Instant,
    /// Subject of the schedule that it waits in. Another schedule on this subject replaces it until it is due.
    schedule: Option<String>,
}

impl MemoryBus {
    /// An empty bus.
    #[must_use]
    pub fn new(clock: Clock, ack_wait: Duration, lease_ttl: Duration) -> Self {
        Self {
            state: Arc::default(),
            changed: Arc::default(),
            control: Arc::default(),
            subjects: Subjects::new("istio"),
            clock,
            ack_wait,
            lease_ttl,
            cut: Arc::default(),
            fence: None,
            published: Arc::default(),
        }
    }

    /// The same bus with one fence for all its leases, for a process that executes one command: it may write to
    /// installations that leases of a real bus have written, and does not raise their fence above that bus.
    #[must_use]
    pub fn with_fence(self, fence: u64) -> Self {
        Self { fence: Some(fence), ..self }
    }

    /// Another connection to the same bus.
    #[must_use]
    pub fn link(&self) -> Self {
        Self { cut: Arc::default(), ..self.clone() }
    }

    /// Interrupts this connection: its requests get no answer, as for a process that has crashed, is suspended or
    /// partitioned.
    pub fn disconnect(&self) {
        self.cut.send_replace(true);
    }

    /// Continues the connection with the requests that were interrupted, however old they are.
    pub fn reconnect(&self) {
        self.cut.send_replace(false);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Injects faults from now on.
    pub fn inject_faults(&self, faults: FaultInjector) {
        self.state().faults = Some(faults);
    }

    /// Limits results to so many bytes of JSON, as `max_payload` of the real server does.
    pub fn limit_results(&self, bytes: usize) {
        self.state().max_result = Some(bytes);
    }

    /// Injects no further faults.
    pub fn clear_faults(&self) {
        self.state().faults = None;
    }

    /// Publishes a command. A copy is another message.
    pub fn publish(&self, target: &Target, verb: &str, payload: impl Into<Bytes>) {
        self.publish_with_headers(target, verb, Vec::new(), payload);
    }

    /// Publishes a command with headers.
    pub fn publish_with_headers(
        &self,
        target: &Target,
        verb: &str,
        headers: Vec<(String, String)>,
        payload: impl Into<Bytes>,
    ) {
        let subject = self.subjects.command(target, verb);
        let (payload, not_before) = (payload.into(), Instant::now());
        let queue = Queue::Commands;
        self.enqueue(Message { queue, subject, headers, payload, delivered: 0, not_before, schedule: None });
    }

    fn enqueue(&self, message: Message) {
        let mut state = self.state();
        let now = Instant::now();
        if message.schedule.is_some() {
            state.queue.retain(|_, other| other.schedule != message.schedule || other.not_before <= now);
        }
        state.sequence += 1;
        let sequence = state.sequence;
        state.queue.insert(sequence, message);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Results that were published.
    #[must_use]
    pub fn results(&self) -> HashMap<CommandId, Event> {
        self.state().results.iter().map(|(command, (event, _))| (command.clone(), event.clone())).collect()
    }

    /// Whether the result is one that the real server deletes after [`super::SHORT_RETENTION`].
    #[must_use]
    pub fn has_short_retention(&self, command: &CommandId) -> bool {
        self.state().short_retention.contains(command)
    }

    /// Events that were published, one for each id.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.state().events.clone()
    }

    /// Changes when an event or a result is published.
    #[must_use]
    pub fn published(&self) -> watch::Receiver<usize> {
        self.published.subscribe()
    }

    /// The attachment that a result names in `dataref`.
    #[must_use]
    pub fn attachment(&self, dataref: &str) -> Option<Bytes> {
        self.state().attachments.get(dataref).cloned()
    }

    fn notify_observers(&self) {
        self.published.send_modify(|count| *count += 1);
    }

    /// Reason and code of each dead letter.
    #[must_use]
    pub fn dead_letters(&self) -> Vec<(String, String)> {
        self.state().dead.iter().map(|(reason, code, _)| (reason.clone(), code.clone())).collect()
    }

    /// Bytes of the message in each dead letter.
    #[must_use]
    pub fn dead_letter_bytes(&self) -> Vec<usize> {
        self.state().dead.iter().map(|(_, _, bytes)| *bytes).collect()
    }

    /// Stores parameters. Returns their reference.
    #[must_use]
    pub fn put_object(&self, bytes: Bytes) -> String {
        let named = dataref::of(&self.subjects.blob_bucket(), &bytes);
        self.state().objects.insert(named.digest, bytes);
        named.reference
    }

    /// Number of messages that are not settled.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.state().queue.len()
    }

    /// Executes `write`, with the fault that is injected for the operation.
    async fn write<T>(&self, operation: &'static str, write: impl FnOnce(&mut State) -> T) -> Result<T, Error> {
        // Other tasks run during a round trip.
        tokio::task::yield_now().await;
        self.connected().await;
        let fault = self.state().faults.as_mut().and_then(|faults| faults(operation));
        if let Some(InjectedFault::Late(by)) = fault {
            tokio::time::sleep(by).await;
            self.connected().await;
        }
        let mut state = self.state();
        let failed = || Error::Request { operation, subject: "memory".to_owned(), source: "an injected fault".into() };
        if fault == Some(InjectedFault::Before) {
            return Err(failed());
        }
        let done = write(&mut state);
        drop(state);
        if fault == Some(InjectedFault::After) { Err(failed()) } else { Ok(done) }
    }

    /// Waits while the connection is interrupted.
    async fn connected(&self) {
        if *self.cut.borrow() {
            let _ = self.cut.subscribe().wait_for(|cut| !cut).await; // the sender is ours
        }
    }

    /// Delivers due messages. Without one: the time at which the next one is due.
    fn take(&self, queue: Queue, max: usize) -> Result<Vec<Delivery>, Option<Instant>> {
        let mut state = self.state();
        let now = Instant::now();
        let mut due = Vec::new();
        let mut next = None;
        for (sequence, message) in state.queue.iter_mut().filter(|(_, message)| message.queue == queue) {
            if due.len() == max {
                break;
            }
            if message.not_before > now {
                next = Some(next.map_or(message.not_before, |next: Instant| next.min(message.not_before)));
                continue;
            }
            message.delivered += 1;
            message.schedule = None;
            message.not_before = now + self.ack_wait;
            due.push(Delivery {
                queue: message.queue,
                subject: message.subject.clone(),
                address: self.subjects.parse_command(&message.subject),
                headers: message.headers.clone(),
                payload: message.payload.clone(),
                delivered: message.delivered,
                sequence: *sequence,
                acker: Arc::new(MemoryAcker { bus: self.clone(), sequence: *sequence }),
            });
        }
        if due.is_empty() { Err(next) } else { Ok(due) }
    }

    fn next_revision(state: &mut State) -> u64 {
        state.revision += 1;
        state.revision
    }
}

struct MemoryAcker {
    bus: MemoryBus,
    sequence: u64,
}

#[async_trait]
impl Acker for MemoryAcker {
    async fn keep_alive(&self) -> Result<(), Error> {
        self.bus
            .write("keep alive", |state| {
                if let Some(message) = state.queue.get_mut(&self.sequence) {
                    message.not_before = message.not_before.max(Instant::now() + self.bus.ack_wait);
                }
            })
            .await
    }

    async fn settle(&self, settlement: Settlement) -> Result<(), Error> {
        // As the real server, it accepts a late acknowledgment.
        let settled = self.bus.write("settle", |state| match settlement {
            Settlement::Ack | Settlement::Term(_) => {
                state.queue.remove(&self.sequence);
            }
            Settlement::Nak(delay) => {
                if let Some(message) = state.queue.get_mut(&self.sequence) {
                    message.not_before = Instant::now() + delay;
                }
            }
        });
        let settled = settled.await;
        self.bus.changed.notify_waiters();
        settled
    }
}

#[async_trait]
impl Bus for MemoryBus {
    fn pull(&self, queue: Queue, max: usize, wait: Duration) -> BoxStream<'static, Result<Delivery, Error>> {
        let bus = self.clone();
        let pulled = async move {
            let until = Instant::now() + wait;
            loop {
                let changed = bus.changed.notified();
                if let Err(error) = bus.write("pull", |_| ()).await {
                    return vec![Err(error)];
                }
                match bus.take(queue, max) {
                    Ok(due) => return due.into_iter().map(Ok).collect(),
                    Err(_) if Instant::now() >= until => return Vec::new(),
                    Err(next) => {
                        let wake = next.map_or(until, |next| next.min(until));
                        tokio::select! { () = changed => {}, () = tokio::time::sleep_until(wake) => {} }
                    }
                }
            }
        };
        stream::once(pulled).flat_map(stream::iter).boxed()
    }

    async fn peek(&self, verb: &str, after: u64) -> Result<Option<Delivery>, Error> {
        self.write("peek", |state| {
            let found = state.queue.range(after + 1..).find(|(_, message)| {
                let address = self.subjects.parse_command(&message.subject);
                message.schedule.is_none() && address.is_some_and(|(_, other)| other == verb)
            });
            found.map(|(sequence, message)| Delivery {
                queue: message.queue,
                subject: message.subject.clone(),
                address: self.subjects.parse_command(&message.subject),
                headers: message.headers.clone(),
                payload: message.payload.clone(),
                delivered: 1,
                sequence: *sequence,
                acker: Arc::new(UnsettledAcker),
            })
        })
        .await
    }

    async fn publish_event(&self, _: &Origin, _: &'static str, event: &Event) -> Result<(), Error> {
        let written = self.write("publish event", |state| state.add_event(event)).await;
        self.notify_observers();
        written
    }

    async fn find_result(&self, command: &CommandId) -> Result<Option<ResultRecord>, Error> {
        self.write("look up", |state| {
            state.results.get(command).map(|(_, fingerprint)| ResultRecord { fingerprint: fingerprint.clone() })
        })
        .await
    }

    async fn commit_result(&self, origin: &Origin, event: &Event, retention: Retention) -> Result<Swap, Error> {
        let size = serde_json::to_vec(event).map_or(0, |json| json.len());
        let committed = self.write("commit", |state| {
            if let Some(limit) = state.max_result.filter(|limit| size > *limit) {
                let reason = format!("{size} bytes, limit {limit}");
                return Err(Error::TooLarge { subject: self.subjects.result(&origin.command()), reason });
            }
            if state.results.contains_key(&origin.command()) {
                return Ok(Swap::Lost);
            }
            state.results.insert(origin.command(), (event.clone(), origin.fingerprint()));
            if retention == Retention::Short {
                state.short_retention.insert(origin.command());
            }
            Ok(Swap::Won(Self::next_revision(state)))
        });
        let committed = committed.await;
        self.notify_observers();
        committed?
    }

    async fn acquire(&self, name: &LeaseName, _: &str) -> Result<Option<Lease>, Error> {
        self.write("acquire", |state| {
            let now = Instant::now();
            if state.leases.get(name).is_some_and(|(_, until)| *until > now) {
                return None;
            }
            let revision = Self::next_revision(state);
            state.leases.insert(name.clone(), (revision, now + self.lease_ttl));
            Some(Lease { name: name.clone(), fence: self.fence.unwrap_or(revision), revision })
        })
        .await
    }

    async fn renew(&self, lease: &Lease, _: &str) -> Result<Option<Lease>, Error> {
        self.write("renew", |state| {
            let now = Instant::now();
            let held = state.leases.get(&lease.name).is_some_and(|(r, until)| *r == lease.revision && *until > now);
            held.then(|| {
                let revision = Self::next_revision(state);
                state.leases.insert(lease.name.clone(), (revision, now + self.lease_ttl));
                Lease { revision, ..lease.clone() }
            })
        })
        .await
    }

    async fn release(&self, lease: &Lease) -> Result<(), Error> {
        self.write("release", |state| {
            if state.leases.get(&lease.name).is_some_and(|(revision, _)| *revision == lease.revision) {
                state.leases.remove(&lease.name);
            }
        })
        .await
    }

    async fn attempts(&self, key: &RecordKey) -> Result<(AttemptRecord, u64), Error> {
        self.write("read attempts", |state| state.attempts.get(key).cloned().unwrap_or_default()).await
    }

    async fn record_attempts(&self, key: &RecordKey, attempts: &AttemptRecord, revision: u64) -> Result<Swap, Error> {
        self.write("record attempts", |state| {
            if state.attempts.get(key).map_or(0, |(_, revision)| *revision) != revision {
                return Swap::Lost;
            }
            let revision = Self::next_revision(state);
            state.attempts.insert(key.clone(), (attempts.clone(), revision));
            Swap::Won(revision)
        })
        .await
    }

    async fn schedule(&self, delivery: &Delivery, origin: &Origin, at: OffsetDateTime) -> Result<(), Error> {
        self.write("schedule", |_| ()).await?;
        let schedule = self.subjects.schedule(&origin.command());
        let is_nats = |name: &str| name.to_ascii_lowercase().starts_with("nats-");
        let mut headers: Vec<_> = delivery.headers.iter().filter(|(name, _)| !is_nats(name)).cloned().collect();
        // As the server writes them (ADR-51).
        headers.push(("Nats-Scheduler".to_owned(), schedule.clone()));
        headers.push(("Nats-Schedule-Next".to_owned(), "purge".to_owned()));
        let (subject, payload) = (delivery.subject.clone(), delivery.payload.clone());
        let not_before = self.clock.instant_of(at);
        let (queue, schedule) = (Queue::Waiting, Some(schedule));
        self.enqueue(Message { queue, subject, headers, payload, delivered: 0, not_before, schedule });
        Ok(())
    }

    async fn dead_letter(&self, letter: &DeadLetter<'_>) -> Result<(), Error> {
        self.write("dead letter", |state| {
            let bytes = letter.delivery.payload.len().min(letter.most_bytes.unwrap_or(usize::MAX));
            state.dead.push((letter.reason.as_str().to_owned(), letter.problem.code.clone(), bytes));
        })
        .await
    }

    async fn publish_dead_letter_event(&self, _: &DeadLetter<'_>, event: &Event) -> Result<(), Error> {
        let written = self.write("publish event", |state| state.add_event(event)).await;
        self.notify_observers();
        written
    }

    /// None: this bus has no limit of deliveries, and no other client settles its messages.
    fn stranded(&self, _: usize, wait: Duration) -> BoxStream<'static, Result<Stranded, Error>> {
        let clock = self.clock;
        stream::once(async move { clock.sleep(wait).await }).flat_map(|()| stream::empty()).boxed()
    }

    async fn blob(&self, _: &str, name: &str, limit: usize) -> Result<Bytes, Error> {
        let found = self.write("blob", |state| state.objects.get(name).cloned()).await?;
        found.filter(|bytes| bytes.len() <= limit).ok_or_else(|| Error::NotFound { what: format!("object {name}") })
    }

    async fn attach(&self, bytes: Bytes) -> Result<String, Error> {
        let reference = dataref::of("memory", &bytes).reference;
        self.write("attach", |state| drop(state.attachments.insert(reference.clone(), bytes))).await?;
        Ok(reference)
    }

    async fn cancel(&self, command: &CommandId, _: &str) -> Result<(), Error> {
        self.write("cancel", |_| self.control.cancel(Cancellation::from(command))).await
    }

    fn subjects(&self) -> &Subjects {
        &self.subjects
    }

    fn control(&self) -> &Control {
        &self.control
    }
}
