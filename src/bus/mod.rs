//! The port between the engine and the message bus. [`nats`] implements it with NATS; [`memory`] implements the same
//! contract in memory, with injectable faults, for tests of the engine.

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
pub use record::{AttemptRecord, RecordKey, RecordVersion, ResultRecord, Retention, SHORT_RETENTION, Waiting};
pub use subject::Subjects;

use crate::event::{CommandId, CommandKey, Origin, Target};

/// Prefix of the headers of messages that `sailhand topology apply` has moved from an earlier installation to the waiting
/// stream: their headers that NATS would interpret have this prefix. Workers check the message by them.
pub const MOVED: &str = "Istio-Moved-";
/// Header of a moved message: why its original headers could not be read.
pub const UNREADABLE: &str = "Istio-Moved-Unreadable";

/// The stream that a delivery comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Queue {
    /// The commands of producers.
    #[default]
    Commands,
    /// Commands that have waited. Only workers and administrators may write to it.
    Waiting,
}

/// A message with a command, and the right to settle it.
#[derive(Clone)]
pub struct Delivery {
    /// The stream that it comes from.
    pub queue: Queue,
    /// The subject on which the command was sent.
    pub subject: String,
    /// Target and verb of the subject; `None` for a malformed subject.
    pub address: Option<(Target, String)>,
    /// Headers in their order, names as sent.
    pub headers: Vec<(String, String)>,
    /// Body of the message, normally an event.
    pub payload: Bytes,
    /// Number of deliveries, this one included.
    pub delivered: u64,
    /// Its sequence number in the stream.
    pub sequence: u64,
    /// Settles the message.
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
    /// Remove the message.
    Ack,
    /// Deliver again, not before the delay has passed.
    Nak(Duration),
    /// Never deliver again; the reason goes into the server's advisory.
    Term(String),
}

/// Acker of a message that was read without a delivery: settles nothing.
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

/// Settles one delivery. The server accepts any acknowledgment, also a late one (`tests/it_bus/facts.rs`), so the engine
/// settles a delivery once, and never after its lease is lost.
#[async_trait]
pub trait Acker: Send + Sync {
    /// Restarts `ack_wait`: the delivery is still being processed.
    async fn keep_alive(&self) -> Result<(), Error>;
    /// Settles the delivery; returns after the bus has confirmed it.
    async fn settle(&self, settlement: Settlement) -> Result<(), Error>;
}

/// Outcome of a compare-and-swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    /// The value is stored, with this revision.
    Won(u64),
    /// The value is not stored: another client has changed it before.
    Lost,
}

/// The exclusive right to write to one installation of one target. It expires unless it is renewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Target and installation.
    pub name: LeaseName,
    /// Revision at which the lease was acquired. It increases over all leases and owners, so it orders writers.
    pub fence: u64,
    /// Current revision, for a renewal or the release.
    pub revision: u64,
}

/// Target and installation of a lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LeaseName {
    /// The cluster.
    pub target: Target,
    /// The installation: name of its inventory.
    pub installation: String,
}

/// Why a message became a dead letter. Its text is a token of the subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadReason {
    /// The message is not a valid command.
    Rejected,
    /// All attempts failed.
    Exhausted,
    /// Processes crashed while they executed or decoded it.
    Quarantined,
    /// The consumer permits no further delivery.
    MaxDeliveries,
    /// A client that is not a worker terminated it.
    Terminated,
}

impl DeadReason {
    /// All reasons.
    pub const ALL: [Self; 5] =
        [Self::Rejected, Self::Exhausted, Self::Quarantined, Self::MaxDeliveries, Self::Terminated];

    /// The token in subjects.
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

/// A message that is not executed, or not again, stored for an operator.
pub struct DeadLetter<'a> {
    /// The message.
    pub delivery: &'a Delivery,
    /// Key of the command; `None` when its sender is not known.
    pub key: Option<&'a CommandKey>,
    /// Why it is stored; a token of its subject.
    pub reason: DeadReason,
    /// The error.
    pub problem: &'a crate::error::Problem,
    /// The worker that publishes the dead letter.
    pub worker: &'a str,
    /// Current time.
    pub time: OffsetDateTime,
    /// Bytes of the payload that are stored; `None` means all. A cut letter does not contain the headers of the message.
    pub most_bytes: Option<usize>,
}

impl DeadLetter<'_> {
    /// The last two tokens of its subject: the target, or `unknown`; and the key of the command, or [`DeadLetter::place`].
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

/// A command without a result that NATS does not deliver again.
pub struct Stranded {
    /// Why it is stranded.
    pub cause: StrandedCause,
    /// The message, or the advisory of the server if the message was removed. Each settlement removes it.
    pub delivery: Delivery,
}

/// Why a command is stranded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StrandedCause {
    /// The consumer permits no further delivery.
    MaxDeliveries,
    /// A client that is not a worker terminated the message.
    Terminated {
        /// Reason that the client gave.
        reason: String,
    },
    /// The message cannot be delivered, because its headers are malformed.
    Unreadable {
        /// What is wrong with the headers.
        reason: String,
    },
}

/// The message bus. Each write may be repeated: the repetition has no further effect.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Pulls at most `max` deliveries within `wait`; with a `wait` of zero, the deliveries that are available now. The caller
    /// must read the returned stream to its end, because this process has to settle each delivery.
    fn pull(&self, queue: Queue, max: usize, wait: Duration) -> BoxStream<'static, Result<Delivery, Error>>;

    /// The first queued command of a verb after sequence number `after`, read without a delivery: settling it has no effect,
    /// and the message is delivered later.
    async fn peek(&self, verb: &str, after: u64) -> Result<Option<Delivery>, Error>;

    /// Publishes an event of kind `kind`.
    async fn publish_event(&self, origin: &Origin, kind: &'static str, event: &Event) -> Result<(), Error>;

    /// The result of the command; `None` while it has none.
    async fn find_result(&self, command: &CommandId) -> Result<Option<ResultRecord>, Error>;

    /// Publishes the result, unless the command has one. This is the commit point of a command; the stored result is its
    /// idempotency record for the time of `retention`.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when the bus cannot store an event of this size.
    async fn commit_result(&self, origin: &Origin, event: &Event, retention: Retention) -> Result<Swap, Error>;

    /// Acquires the lease; `None` when another owner holds it.
    async fn acquire(&self, name: &LeaseName, owner: &str) -> Result<Option<Lease>, Error>;

    /// Renews the lease; `None` when it has expired or has another owner.
    async fn renew(&self, lease: &Lease, owner: &str) -> Result<Option<Lease>, Error>;

    /// Releases the lease. A lease that has expired is not an error.
    async fn release(&self, lease: &Lease) -> Result<(), Error>;

    /// An attempt record and its revision. Revision 0 means that there is no record.
    async fn attempts(&self, record: &RecordKey) -> Result<(AttemptRecord, u64), Error>;

    /// Writes an attempt record if it still has this revision.
    async fn record_attempts(&self, record: &RecordKey, attempts: &AttemptRecord, revision: u64)
    -> Result<Swap, Error>;

    /// Publishes the command again at `at`, or when it is cancelled. A command has at most one schedule: a new one replaces
    /// the previous one.
    async fn schedule(&self, delivery: &Delivery, origin: &Origin, at: OffsetDateTime) -> Result<(), Error>;

    /// Stores a dead letter.
    async fn dead_letter(&self, letter: &DeadLetter<'_>) -> Result<(), Error>;

    /// Publishes the event `deadlettered`.
    async fn publish_dead_letter_event(&self, letter: &DeadLetter<'_>, event: &Event) -> Result<(), Error>;

    /// At most `max` stranded commands within `wait`. The caller must read the stream to its end, as with [`Bus::pull`].
    fn stranded(&self, max: usize, wait: Duration) -> BoxStream<'static, Result<Stranded, Error>>;

    /// The object of this name in a bucket of [`Subjects::parameter_buckets`], at most `limit` bytes.
    async fn blob(&self, bucket: &str, name: &str, limit: usize) -> Result<Bytes, Error>;

    /// Stores an attachment of a result for as long as results are stored. Returns its reference, which is the same for the
    /// same bytes.
    async fn attach(&self, bytes: Bytes) -> Result<String, Error>;

    /// Requests that all workers end the command. `by` names the requester, for operators.
    async fn cancel(&self, command: &CommandId, by: &str) -> Result<(), Error>;

    /// Names of subjects, streams and buckets.
    fn subjects(&self) -> &Subjects;

    /// Cancelled commands and paused targets.
    fn control(&self) -> &Control;
}
