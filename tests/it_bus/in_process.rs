//! A worker of this process on a real server.

use std::sync::Arc;
use std::time::Duration;

use sailhand::bus::Subjects;
use sailhand::bus::nats::{self, NatsBus};
use sailhand::clock::Clock;
use sailhand::cluster::Clusters;
use sailhand::config::{self, Config};
use sailhand::task::Registry;
use sailhand::telemetry::metrics::Metrics;
use sailhand::worker::{Engine, Settings};
use tokio_util::sync::CancellationToken;

pub const SLOTS: usize = 8;

/// Starts a worker for these targets, which have no cluster. It runs until `stop`.
pub async fn start_worker(config: &Config, registry: Registry, targets: &[&str], stop: &CancellationToken) {
    let connection = nats::connect(&config.nats, "worker", false).await.unwrap();
    let bus = NatsBus::new(connection, Subjects::of(&config.bus)).with_limits(&config.bus);
    bus.follow_control(stop.clone()).await.unwrap();
    let targets = targets.iter().map(|target| ((*target).to_owned(), config::Target::default()));
    let settings = Settings {
        worker: "w".to_owned(),
        slots: SLOTS,
        pull_wait: Duration::from_secs(1),
        ack_wait: config.bus.ack_wait,
        lease_ttl: config.bus.lease_ttl,
        grace: Duration::from_secs(5),
    };
    let engine = Engine::new(
        Arc::new(bus),
        registry,
        Arc::new(Clusters::new(targets.collect())),
        Clock::system(),
        Arc::new(Metrics::default()),
        settings,
    );
    let (engine, stop) = (engine.unwrap(), stop.clone());
    tokio::spawn(async move { engine.run(stop).await });
}
