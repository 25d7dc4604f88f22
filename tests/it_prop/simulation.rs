//! Workers on the bus in memory, in virtual time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cloudevents::Event;
use sailhand::bus::Bus;
use sailhand::bus::memory::MemoryBus;
use sailhand::clock::Clock;
use sailhand::cluster::Clusters;
use sailhand::config;
use sailhand::event::ResultData;
use sailhand::task::Registry;
use sailhand::telemetry::metrics::Metrics;
use sailhand::worker::{Engine, Settings};

const ACK_WAIT: Duration = Duration::from_secs(30);
const LEASE_TTL: Duration = Duration::from_secs(45);

/// A bus and its clock.
pub fn bus() -> (MemoryBus, Clock) {
    let clock = Clock::starting_at(time::OffsetDateTime::UNIX_EPOCH + Duration::from_hours(500_000));
    (MemoryBus::new(clock, ACK_WAIT, LEASE_TTL), clock)
}

/// A worker on a link to the bus. It takes commands while [`Engine::run`] runs.
pub fn engine(
    link: &MemoryBus,
    clock: Clock,
    (name, slots): (&str, usize),
    targets: impl IntoIterator<Item = (String, config::Target)>,
    registry: Registry,
    metrics: Arc<Metrics>,
) -> Arc<Engine> {
    let settings = Settings {
        worker: name.to_owned(),
        slots,
        pull_wait: Duration::from_mins(1),
        ack_wait: ACK_WAIT,
        lease_ttl: LEASE_TTL,
        grace: Duration::from_secs(20),
    };
    let bus: Arc<dyn Bus> = Arc::new(link.clone());
    let clusters = Arc::new(Clusters::new(BTreeMap::from_iter(targets)));
    Engine::new(bus, registry, clusters, clock, metrics, settings).unwrap()
}

/// The data of a result event.
pub fn result_data(event: &Event) -> ResultData {
    match event.data() {
        Some(cloudevents::Data::Json(data)) => serde_json::from_value(data.clone()).unwrap(),
        other => panic!("a result without JSON data: {other:?}"),
    }
}

/// Runs a schedule on a runtime of its own whose clock moves on only when all tasks wait.
pub fn run(schedule: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(schedule);
}
