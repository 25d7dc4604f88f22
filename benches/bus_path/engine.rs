//! The worker's engine on the real bus, with the time of each command taken from outside.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cloudevents::Event;
use futures::StreamExt;
use futures::stream::BoxStream;
use sailhand::bus::nats::NatsBus;
use sailhand::bus::{
    Acker, AttemptRecord, Bus, Control, DeadLetter, Delivery, Error, Lease, LeaseName, Queue, RecordKey, ResultRecord,
    Retention, Settlement, Stranded, Subjects, Swap,
};
use sailhand::clock::Clock;
use sailhand::cluster::Clusters;
use sailhand::config::{Config, Target};
use sailhand::event::{CommandId, Origin};
use sailhand::task::Registry;
use sailhand::telemetry::metrics::Metrics;
use sailhand::worker::{Engine, Settings};
use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Latencies;

/// Logs as a worker in a container does: JSON at level `info`, one write for each line, to `/dev/null`.
pub fn log_as_a_worker() {
    use tracing_subscriber::prelude::*;
    let nowhere = File::options().write(true).open("/dev/null").unwrap();
    let lines = tracing_subscriber::fmt::layer().with_writer(Arc::new(nowhere)).with_ansi(false).with_target(false);
    let lines = lines.json().flatten_event(true).with_current_span(true).with_span_list(false);
    let filter = tracing_subscriber::EnvFilter::new("info");
    tracing_subscriber::registry().with(filter).with(lines).init();
}

/// Everything that a worker process does for commands, until `stop`.
pub async fn worker(
    bus: NatsBus,
    slots: usize,
    latencies: Arc<Latencies>,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static + use<> {
    let config = Config::default();
    bus.follow_control(stop.clone()).await.unwrap();
    let settings = Settings {
        worker: "bench-1".to_owned(),
        slots,
        pull_wait: config.worker.pull_wait,
        ack_wait: config.bus.ack_wait,
        lease_ttl: config.bus.lease_ttl,
        grace: config.worker.grace,
    };
    let clusters = Clusters::new(BTreeMap::from([("dev".to_owned(), Target::default())]));
    let engine = Engine::new(
        Arc::new(Timed { bus, latencies }),
        Registry::standard(),
        Arc::new(clusters),
        Clock::system(),
        Arc::new(Metrics::default()),
        settings,
    )
    .unwrap();
    async move { engine.run(stop).await }
}

/// The bus, and a look at the clock at receipt and settlement.
struct Timed {
    bus: NatsBus,
    latencies: Arc<Latencies>,
}

struct TimedAcker {
    acker: Arc<dyn Acker>,
    received: Instant,
    latencies: Arc<Latencies>,
}

#[async_trait]
impl Acker for TimedAcker {
    async fn keep_alive(&self) -> Result<(), Error> {
        self.acker.keep_alive().await
    }

    async fn settle(&self, settlement: Settlement) -> Result<(), Error> {
        assert_eq!(settlement, Settlement::Ack, "a ping succeeds at once");
        self.acker.settle(settlement).await?;
        self.latencies.settled(self.received);
        Ok(())
    }
}

#[async_trait]
impl Bus for Timed {
    fn pull(&self, queue: Queue, max: usize, wait: Duration) -> BoxStream<'static, Result<Delivery, Error>> {
        let latencies = Arc::clone(&self.latencies);
        let timed = move |mut delivery: Delivery| {
            let (received, latencies) = (Instant::now(), Arc::clone(&latencies));
            delivery.acker = Arc::new(TimedAcker { acker: delivery.acker, received, latencies });
            delivery
        };
        self.bus.pull(queue, max, wait).map(move |delivery| delivery.map(&timed)).boxed()
    }

    async fn peek(&self, verb: &str, after: u64) -> Result<Option<Delivery>, Error> {
        self.bus.peek(verb, after).await
    }

    async fn publish_event(&self, origin: &Origin, kind: &'static str, event: &Event) -> Result<(), Error> {
        self.bus.publish_event(origin, kind, event).await
    }

    async fn find_result(&self, command: &CommandId) -> Result<Option<ResultRecord>, Error> {
        self.bus.find_result(command).await
    }

    async fn commit_result(&self, origin: &Origin, event: &Event, retention: Retention) -> Result<Swap, Error> {
        self.bus.commit_result(origin, event, retention).await
    }

    async fn acquire(&self, name: &LeaseName, owner: &str) -> Result<Option<Lease>, Error> {
        self.bus.acquire(name, owner).await
    }

    async fn renew(&self, lease: &Lease, owner: &str) -> Result<Option<Lease>, Error> {
        self.bus.renew(lease, owner).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), Error> {
        self.bus.release(lease).await
    }

    async fn attempts(&self, key: &RecordKey) -> Result<(AttemptRecord, u64), Error> {
        self.bus.attempts(key).await
    }

    async fn record_attempts(&self, key: &RecordKey, attempts: &AttemptRecord, revision: u64) -> Result<Swap, Error> {
        self.bus.record_attempts(key, attempts, revision).await
    }

    async fn schedule(&self, delivery: &Delivery, origin: &Origin, at: OffsetDateTime) -> Result<(), Error> {
        self.bus.schedule(delivery, origin, at).await
    }

    async fn dead_letter(&self, letter: &DeadLetter<'_>) -> Result<(), Error> {
        self.bus.dead_letter(letter).await
    }

    async fn publish_dead_letter_event(&self, letter: &DeadLetter<'_>, event: &Event) -> Result<(), Error> {
        self.bus.publish_dead_letter_event(letter, event).await
    }

    fn stranded(&self, max: usize, wait: Duration) -> BoxStream<'static, Result<Stranded, Error>> {
        self.bus.stranded(max, wait)
    }

    async fn attach(&self, bytes: Bytes) -> Result<String, Error> {
        self.bus.attach(bytes).await
    }

    async fn blob(&self, bucket: &str, name: &str, limit: usize) -> Result<Bytes, Error> {
        self.bus.blob(bucket, name, limit).await
    }

    async fn cancel(&self, command: &CommandId, by: &str) -> Result<(), Error> {
        self.bus.cancel(command, by).await
    }

    fn subjects(&self) -> &Subjects {
        Bus::subjects(&self.bus)
    }

    fn control(&self) -> &Control {
        self.bus.control()
    }
}
