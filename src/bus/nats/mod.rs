//! The bus on NATS `JetStream`. Each write is one request, whose answer is parsed here and not by the client: for replicated
//! streams the client maps most lost compare-and-swaps to "other" (`tests/it_bus/facts.rs`).

mod card;
mod connect;
mod migration;
mod object;
mod producer;
mod publish;
mod read;
mod source;
mod store;
mod stranded;
pub mod topology;
mod undelivered;
mod waiting_limit;
mod watch;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::context::{AccountErrorKind, ContextBuilder};
use async_trait::async_trait;
use bytes::Bytes;
use cloudevents::Event;
use futures::stream::BoxStream;
use time::OffsetDateTime;
use tokio::sync::{OnceCell, watch as signal};

use super::{
    AttemptRecord, Bus, Cancellation, Control, DeadLetter, Delivery, Error, Lease, LeaseName, Queue, RecordKey,
    ResultRecord, Retention, SHORT_RETENTION, Stranded, Subjects, Swap,
};
use crate::config;
use crate::event::{self, CommandId, Origin, dataref};

pub use connect::{Connection, Health, connect};
pub(crate) use publish::CUT;
pub use read::read_event;
pub use undelivered::{UNDELIVERED, Undelivered};
use waiting_limit::WaitingLimit;

/// Timeout of a request to `JetStream`.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The bus on one connection.
#[derive(Clone)]
pub struct NatsBus {
    client: async_nats::Client,
    context: jetstream::Context,
    subjects: Subjects,
    control: Arc<Control>,
    health: signal::Sender<Health>,
    /// Only their names are used after the first lookup, and a recreated consumer has the same name.
    consumer: Arc<OnceCell<PullConsumer>>,
    due_consumer: Arc<OnceCell<PullConsumer>>,
    sweeper: Arc<OnceCell<PullConsumer>>,
    waiting_limit: WaitingLimit,
    /// Losses of the connection after which the streams were checked for unreadable messages.
    checked_losses: Arc<AtomicU64>,
}

impl NatsBus {
    /// A bus on a connection. Sends no request.
    #[must_use]
    pub fn new(connection: Connection, subjects: Subjects) -> Self {
        let context = ContextBuilder::new().timeout(TIMEOUT).build(connection.client.clone());
        Self {
            client: connection.client,
            context,
            subjects,
            control: Arc::new(Control::default()),
            health: connection.health,
            consumer: Arc::default(),
            due_consumer: Arc::default(),
            sweeper: Arc::default(),
            waiting_limit: WaitingLimit::new(config::Bus::default().max_bytes),
            checked_losses: Arc::default(),
        }
    }

    /// The same bus with the limit of the configuration for the waiting stream instead of the default one.
    #[must_use]
    pub fn with_limits(self, bus: &config::Bus) -> Self {
        Self { waiting_limit: WaitingLimit::new(bus.max_bytes), ..self }
    }

    /// Names of subjects, streams and buckets.
    #[must_use]
    pub fn subjects(&self) -> &Subjects {
        &self.subjects
    }

    /// The `JetStream` context, for readers of streams.
    #[must_use]
    pub fn context(&self) -> &jetstream::Context {
        &self.context
    }

    /// Whether some server answers for `JetStream`. In a cluster that may be another one than that of the connection. In doubt
    /// it is true.
    pub async fn has_jetstream(&self) -> bool {
        if self.client.server_info().jetstream {
            return true;
        }
        // A permission that is missing is a timeout.
        let answer = tokio::time::timeout(Duration::from_secs(1), self.context.query_account()).await;
        !matches!(answer, Ok(Err(error)) if error.kind() == AccountErrorKind::JetStreamUnavailable)
    }

    /// State of the connection, and errors of the server.
    #[must_use]
    pub fn health(&self) -> signal::Receiver<Health> {
        self.health.subscribe()
    }

    /// Removes errors that the server has not repeated for this time: no command needs the request any more.
    pub fn expire_refusals(&self, after: Duration) {
        self.health.send_if_modified(|health| {
            let before = health.refused.len();
            health.refused.retain(|_, refusal| refusal.at.elapsed() < after);
            if health.refused.is_empty() {
                health.denied = None;
            }
            health.refused.len() != before
        });
    }

    /// Removes the error of a request that has succeeded.
    fn clear_refusal(&self, subject: &str) {
        if !self.health.borrow().refused.is_empty() {
            self.health.send_if_modified(|health| health.refused.remove(connect::kind(subject)).is_some());
        }
    }

    /// Sends buffered messages and closes the connection: the last step of a shutdown, after the last ack.
    pub async fn close(&self) {
        // Without a connection, buffered messages are lost anyway.
        let leave = async {
            let _ = self.client.flush().await;
            let _ = self.client.drain().await;
        };
        let _ = tokio::time::timeout(Duration::from_secs(2), leave).await;
    }
}

#[async_trait]
impl Bus for NatsBus {
    fn pull(&self, queue: Queue, max: usize, wait: Duration) -> BoxStream<'static, Result<Delivery, Error>> {
        source::pull(self.clone(), queue, max, wait)
    }

    async fn peek(&self, verb: &str, after: u64) -> Result<Option<Delivery>, Error> {
        self.peek_message(verb, after).await
    }

    async fn publish_event(&self, origin: &Origin, kind: &'static str, event: &Event) -> Result<(), Error> {
        let subject = self.subjects.event(&origin.target, &origin.key, kind);
        self.publish(publish::Message::event(subject, event)?).await.map(|_| ())
    }

    async fn find_result(&self, command: &CommandId) -> Result<Option<ResultRecord>, Error> {
        self.read_result(command).await
    }

    async fn commit_result(&self, origin: &Origin, event: &Event, retention: Retention) -> Result<Swap, Error> {
        let subject = self.subjects.result(&origin.command());
        let mut message = publish::Message::result(subject, origin, event)?;
        if retention == Retention::Short {
            message.expire_after(SHORT_RETENTION);
        }
        self.swap(&self.subjects.result_stream(), message, 0).await
    }

    async fn acquire(&self, name: &LeaseName, owner: &str) -> Result<Option<Lease>, Error> {
        self.acquire_lease(name, owner).await
    }

    async fn renew(&self, lease: &Lease, owner: &str) -> Result<Option<Lease>, Error> {
        self.renew_lease(lease, owner).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), Error> {
        self.release_lease(lease).await
    }

    async fn attempts(&self, record: &RecordKey) -> Result<(AttemptRecord, u64), Error> {
        self.read_attempts(record).await
    }

    async fn record_attempts(
        &self,
        record: &RecordKey,
        attempts: &AttemptRecord,
        revision: u64,
    ) -> Result<Swap, Error> {
        self.write_attempts(record, attempts, revision).await
    }

    async fn schedule(&self, delivery: &Delivery, origin: &Origin, at: OffsetDateTime) -> Result<(), Error> {
        let message = publish::Message::scheduled(&self.subjects, delivery, origin, at);
        self.reserve_waiting(&message).await?;
        self.publish_new(message).await?;
        let command = origin.command();
        // A cancellation before this schedule could not make it due.
        if self.control.is_cancelled(&command) {
            self.deliver_now(&Cancellation::from(&command)).await;
        }
        Ok(())
    }

    async fn dead_letter(&self, letter: &DeadLetter<'_>) -> Result<(), Error> {
        self.publish(publish::Message::dead_letter(&self.subjects, letter)).await.map(|_| ())
    }

    async fn publish_dead_letter_event(&self, letter: &DeadLetter<'_>, event: &Event) -> Result<(), Error> {
        let (target, id) = letter.address();
        let subject = self.subjects.dead_letter_event(target, &id, event::DEAD_LETTERED);
        self.publish(publish::Message::event(subject, event)?).await.map(|_| ())
    }

    fn stranded(&self, max: usize, wait: Duration) -> BoxStream<'static, Result<Stranded, Error>> {
        stranded::stranded(self.clone(), max, wait)
    }

    async fn blob(&self, bucket: &str, name: &str, limit: usize) -> Result<Bytes, Error> {
        self.read_object(bucket.to_owned(), name, limit).await
    }

    async fn attach(&self, bytes: Bytes) -> Result<String, Error> {
        let bucket = self.subjects.attachment_bucket();
        let named = dataref::of(&bucket, &bytes);
        self.upload(bucket, &named.digest, &bytes).await?;
        Ok(named.reference)
    }

    async fn cancel(&self, command: &CommandId, by: &str) -> Result<(), Error> {
        self.request_cancel(&Cancellation::from(command), &serde_json::json!({ "by": by })).await
    }

    fn subjects(&self) -> &Subjects {
        &self.subjects
    }

    fn control(&self) -> &Control {
        &self.control
    }
}
