//! The port between the engine and the message bus: what a bus must do, and nothing of how. [`nats`] is the real one,
//! [`memory`] has the same contract with faults on order, for tests of the engine.

mod card;
pub mod control;
mod error;
pub mod memory;
pub mod nats;
mod record;
mod subject;
pub mod topology;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cloudevents::Event;
use futures::stream::BoxStream;
use time::OffsetDateTime;

pub use card::TargetCard;
pub use control::{Cancellation, Control, ControlState};
pub use error::Error;
pub use record::{AttemptRecord, RecordKey, ResultRecord, Retention, SHORT_RETENTION};
pub use subject::Subjects;

use crate::event::{CommandId, CommandKey, Origin, Target};

/// `sailhand topology apply` moves messages of an earlier installation to the waiting stream. There, headers that NATS
/// would interpret have this before their names, and workers judge the message by them.
pub const MOVED: &str = "Istio-Moved-";
/// Header of a moved message: why its original headers could not be read.
pub const UNREADABLE: &str = "Istio-Moved-Unreadable";

/// The stream that a delivery comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Queue {
    /// The commands of producers.
    #[default]
    Commands,
    /// Commands that waited. Only workers and administrators write to it.
    Waiting,
}

/// A message with a command, and the right to settle it.
#[derive(Clone)]
pub struct Delivery {
    /// The stream that it comes from.
    pub queue: Queue,
    /// The subject on which the command was sent.
    pub subject: String,
    /// Target and verb of the subject, where it is well-formed.
    pub address: Option<(Target, String)>,
    /// In order; names as sent.
    pub headers: Vec<(String, String)>,
    /// The event, or what was sent in its place.
    pub payload: Bytes,
    /// How often it has been delivered, this time included.
    pub delivered: u64,
    /// Its sequence number in the stream.
    pub sequence: u64,
    /// The way back.
    pub acker: Arc<dyn Acker>,
}

impl Delivery {
    /// Name and value of each header.
    pub fn header_pairs(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// How a delivery is settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// Done, remove it.
    Ack,
    /// Deliver again, not before the delay has passed.
    Nak(Duration),
    /// Never deliver again; the reason goes into the server's advisory.
    Term(String),
}

/// Settles nothing: of a message that was only looked at.
#[derive(Debug)]
struct UnsettledAcker;

#[async_trait]
impl Acker for UnsettledAcker {
    async fn keep_alive(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn settle(&self, _: Settlement) -> Result<(), Error> {
        Ok(())
    }
}

/// Settles one delivery. The server honours any holder, also a stale one (`tests/it_bus/facts.rs`): the engine settles once, and
/// never after its lease is lost.
#[async_trait]
pub trait Acker: Send + Sync {
    /// Tells the bus that the delivery is being worked on.
    async fn keep_alive(&self) -> Result<(), Error>;
    /// Settles it, confirmed by the bus.
    async fn settle(&self, settlement: Settlement) -> Result<(), Error>;
}

/// Whether a compare-and-swap went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    /// Yes; the new revision.
    Won(u64),
    /// No: somebody else was first.
    Lost,
}

/// The right to write to one installation of one target, while it lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What it is on.
    pub name: LeaseName,
    /// Revision at which it was acquired: monotone over all leases and owners, so it orders writers.
    pub fence: u64,
    /// Revision to renew or release from.
    pub revision: u64,
}

/// What a lease is on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LeaseName {
    /// The cluster.
    pub target: Target,
    /// The inventory in it.
    pub installation: String,
}

/// Why a message became a dead letter; a subject token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadReason {
    /// It is not a command, or one that cannot be.
    Rejected,
    /// All attempts failed.
    Exhausted,
    /// It takes the worker down each time.
    Quarantined,
    /// The bus does not deliver it any more.
    MaxDeliveries,
    /// Somebody else than a worker took it off the queue.
    Terminated,
}

impl DeadReason {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Rejected, Self::Exhausted, Self::Quarantined, Self::MaxDeliveries, Self::Terminated];

    /// As in subjects.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Exhausted => "exhausted",
            Self::Quarantined => "quarantined",
            Self::MaxDeliveries => "max-deliveries",
            Self::Terminated => "terminated",
        }
    }
}

/// A message that will not be executed, stored for a person.
pub struct DeadLetter<'a> {
    /// The message.
    pub delivery: &'a Delivery,
    /// Its key, where it has one.
    pub key: Option<&'a CommandKey>,
    /// Why.
    pub reason: DeadReason,
    /// Code and text of the failure.
    pub problem: &'a crate::error::Problem,
    /// Who gave up.
    pub worker: &'a str,
    /// When.
    pub time: OffsetDateTime,
    /// Bytes that are stored of the payload; `None` means all. A letter that is cut has no headers of the message.
    pub most_bytes: Option<usize>,
}

impl DeadLetter<'_> {
    /// Its last subject tokens: the target, or `unknown`; the command's key, or [`DeadLetter::place`].
    #[must_use]
    pub fn address(&self) -> (&str, String) {
        let target = self.delivery.address.as_ref().map_or("unknown", |(target, _)| target.as_str());
        (target, self.key.map_or_else(|| self.place(), ToString::to_string))
    }

    /// Stream and sequence number: `s<n>` for a message of the command stream, `w<n>` for one of the waiting stream.
    #[must_use]
    pub fn place(&self) -> String {
        let stream = match self.delivery.queue {
            Queue::Commands => 's',
            Queue::Waiting => 'w',
        };
        format!("{stream}{}", self.delivery.sequence)
    }
}

/// A command that nobody will settle any more, although nobody has ended it.
pub struct Stranded {
    /// How that came.
    pub cause: StrandedCause,
    /// The message, or the bus's own words where it is gone already. Settling it, in whichever way, removes it.
    pub delivery: Delivery,
}

/// How a command was stranded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StrandedCause {
    /// It has been delivered as often as the consumer allows.
    MaxDeliveries,
    /// Somebody else than a worker of ours terminated it.
    Terminated {
        /// In his words.
        reason: String,
    },
    /// It cannot be delivered: no client reads its headers.
    Unreadable {
        /// What is wrong with them.
        reason: String,
    },
}

/// A bus. All writes are safe to repeat.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// At most `max` deliveries of a stream, none later than `wait` from now; without a wait, those that can be delivered
    /// now. The stream must be read to its end: what it has taken over is this process's to settle.
    fn pull(&self, queue: Queue, max: usize, wait: Duration) -> BoxStream<'static, Result<Delivery, Error>>;

    /// The first command of a verb that is queued after the place `after`, without taking it off the queue: settling it
    /// does nothing, and it is delivered all the same.
    async fn peek(&self, verb: &str, after: u64) -> Result<Option<Delivery>, Error>;

    /// Publishes a progress event of kind `kind`.
    async fn publish_event(&self, origin: &Origin, kind: &'static str, event: &Event) -> Result<(), Error>;

    /// The result of the command, if it has ended.
    async fn find_result(&self, command: &CommandId) -> Result<Option<ResultRecord>, Error>;

    /// Publishes the result, unless there is one: the commit point of a command and its idempotency record, for as long
    /// as `retention` says.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when the bus cannot store an event of this size.
    async fn commit_result(&self, origin: &Origin, event: &Event, retention: Retention) -> Result<Swap, Error>;

    /// Takes the lease, or `None` when somebody holds it.
    async fn acquire(&self, name: &LeaseName, owner: &str) -> Result<Option<Lease>, Error>;

    /// Renews the lease, or `None` when it is gone.
    async fn renew(&self, lease: &Lease, owner: &str) -> Result<Option<Lease>, Error>;

    /// Gives the lease back. One that is gone already is no error.
    async fn release(&self, lease: &Lease) -> Result<(), Error>;

    /// The attempts under a name and their revision. Revision 0 means that there is no record.
    async fn attempts(&self, record: &RecordKey) -> Result<(AttemptRecord, u64), Error>;

    /// Writes the attempts if the record still has that revision.
    async fn record_attempts(&self, record: &RecordKey, attempts: &AttemptRecord, revision: u64)
    -> Result<Swap, Error>;

    /// Publishes the command again at `at`, or when it is cancelled. Of several that wait so, one may be left, as they
    /// are one command. A repeat for the same delivery is the same.
    async fn schedule(&self, delivery: &Delivery, origin: &Origin, at: OffsetDateTime) -> Result<(), Error>;

    /// Keeps a message for a person.
    async fn dead_letter(&self, letter: &DeadLetter<'_>) -> Result<(), Error>;

    /// Publishes the event that tells of a dead letter.
    async fn publish_dead_letter_event(&self, letter: &DeadLetter<'_>, event: &Event) -> Result<(), Error>;

    /// At most `max` commands that are stranded, none later than `wait` from now. Read to its end, like [`Bus::pull`].
    fn stranded(&self, max: usize, wait: Duration) -> BoxStream<'static, Result<Stranded, Error>>;

    /// The object of this name in a bucket of [`Subjects::parameter_buckets`], at most `limit` bytes.
    async fn blob(&self, bucket: &str, name: &str, limit: usize) -> Result<Bytes, Error>;

    /// Keeps what does not fit into a result, as long as results are kept. Gives the reference: one and the same for the
    /// same bytes.
    async fn attach(&self, bytes: Bytes) -> Result<String, Error>;

    /// Asks every worker to end the command. `by` says who asked, for people.
    async fn cancel(&self, command: &CommandId, by: &str) -> Result<(), Error>;

    /// All names on the bus.
    fn subjects(&self) -> &Subjects;

    /// What operators ask for: cancelled commands, paused targets.
    fn control(&self) -> &Control;
}
