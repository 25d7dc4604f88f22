//! A worker process: connect, verify the topology, execute commands until it is stopped, then shut down.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Engine, Settings, readiness};
use crate::bus::nats::{self, NatsBus};
use crate::bus::topology::Topology;
use crate::bus::{self, Bus, Subjects, TargetCard};
use crate::clock::Clock;
use crate::cluster::{Clusters, Identity};
use crate::config::{Config, Target};
use crate::error::{Class, Classify, Code, Problem};
use crate::health::{self, Causes};
use crate::retry;
use crate::task::Registry;
use crate::telemetry::metrics::Metrics;

/// After so long without a command the client of a cluster is dropped. Longer than the pause of a pipeline between two steps.
const CLIENT_UNUSED: Duration = Duration::from_mins(10);

/// How long the deletion of the target cards may take at the end. They expire anyway.
const LEAVE: Duration = Duration::from_secs(2);

/// Why a worker did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bus cannot be used.
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// The worker cannot listen on the health port.
    #[error("cannot listen on {address}")]
    Listen {
        /// Address in the configuration.
        address: std::net::SocketAddr,
        /// Underlying error.
        #[source]
        source: std::io::Error,
    },
    /// The schema of a task's parameters is not valid: a bug.
    #[error("the tasks cannot be registered: {reason}")]
    Registry {
        /// The verb, and why.
        reason: String,
    },
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Bus(error) => error.class(),
            Self::Listen { .. } | Self::Registry { .. } => Class::Terminal,
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Bus(error) => error.code(),
            Self::Listen { .. } => Code::SH5004,
            Self::Registry { .. } => Code::SH4002,
        }
    }
}

/// Runs a worker until `stop` and until its last command is settled.
///
/// # Errors
/// When the worker cannot start. Later errors are retried, and `/readyz` reports them.
pub async fn serve(config: &Config, registry: Registry, stop: CancellationToken) -> Result<(), Error> {
    let worker = worker_id(&config.worker.id);
    let metrics = Arc::new(Metrics::default());
    let (causes, readiness) = watch::channel(vec!["starting".to_owned()]);
    // Lives longer than `stop`, because the health port answers until the last command is settled.
    let ended = CancellationToken::new();
    let _end = ended.clone().drop_guard();
    if let Some(address) = config.health.listen {
        let bound = health::serve(address, metrics.clone().renderer(), readiness, ended.clone()).await;
        let bound = bound.map_err(|source| Error::Listen { address, source })?;
        tracing::info!("health and metrics on http://{bound}");
    }
    let connection = nats::connect(&config.nats, &format!("sailhand {worker}"), true).await?;
    let bus = NatsBus::new(connection, Subjects::of(&config.bus)).with_limits(&config.bus);
    let reporting = tokio::spawn(readiness::report_outages(bus.health(), ended.clone(), |after, cause| {
        tracing::warn!(code = %Code::SH2001, "no connection for {} s: {cause}; reconnecting", after.as_secs());
    }));
    let topology = Topology::new(&config.bus);
    if !ready_to_start(&bus, &topology, &causes, &stop).await {
        bus.close().await;
        return Ok(());
    }
    bus.follow_control(ended.clone()).await?;
    let settings = Settings {
        worker: worker.clone(),
        slots: config.worker.slots,
        pull_wait: config.worker.pull_wait,
        ack_wait: config.bus.ack_wait,
        lease_ttl: config.bus.lease_ttl,
        grace: config.worker.grace,
    };
    let clusters = Arc::new(Clusters::new(config.targets.clone()));
    let port: Arc<dyn Bus> = Arc::new(bus.clone());
    let releasing = tokio::spawn(release_unused(Arc::clone(&clusters)));
    let engine = Engine::new(port, registry, clusters, Clock::system(), metrics, settings.clone())
        .map_err(|reason| Error::Registry { reason })?;
    causes.send_replace(Causes::new());
    tracing::info!(worker, slots = config.worker.slots, targets = config.targets.len(), "ready");
    let watching =
        tokio::spawn(readiness::watch(bus.clone(), topology, config.bus.ack_wait, causes.clone(), stop.clone()));
    let cards = config.targets.iter().map(|(name, target)| (name.clone(), card(name, target, &settings)));
    let cards = tokio::spawn(bus.clone().publish_cards(cards.collect(), stop.clone()));
    let sweeping = tokio::spawn(Arc::clone(&engine).sweep(stop.clone()));
    engine.run(stop).await;
    let _ = sweeping.await; // it completes the command that it has started
    watching.abort();
    releasing.abort();
    reporting.abort();
    let _ = tokio::time::timeout(LEAVE, cards).await;
    bus.close().await;
    tracing::info!(worker, "stopped");
    Ok(())
}

async fn release_unused(clusters: Arc<Clusters>) {
    loop {
        tokio::time::sleep(CLIENT_UNUSED / 10).await;
        clusters.release_unused(CLIENT_UNUSED);
    }
}

/// The card of a target: what clients need to know about the worker and the cluster.
fn card(name: &str, target: &Target, settings: &Settings) -> TargetCard {
    let card = TargetCard {
        worker: settings.worker.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        slots: u32::try_from(settings.slots).unwrap_or(u32::MAX),
        ..TargetCard::default()
    };
    match Identity::of(name, target) {
        Ok(Identity { context, server, user }) => TargetCard { context, server, user, ..card },
        Err(error) => {
            let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            TargetCard { problem: Some(cause), ..card }
        }
    }
}

/// Waits until NATS is connected and the topology is as declared; `false` when stopped before.
async fn ready_to_start(
    bus: &NatsBus,
    topology: &Topology,
    causes: &watch::Sender<Causes>,
    stop: &CancellationToken,
) -> bool {
    let mut attempt = 0;
    if !connected(bus, causes, stop).await {
        return false;
    }
    loop {
        let verified = tokio::select! {
            verified = nats::topology::verify(bus, topology) => verified,
            () = stop.cancelled() => return false,
        };
        let Err(error) = verified else { return true };
        attempt += 1;
        let problem = Problem::new(&error);
        tracing::warn!(code = problem.code, "not ready: {problem}. {}", problem.remedy);
        causes.send_replace(vec![problem.to_string()]);
        let pause = retry::IN_PLACE.delay(attempt, Some(Duration::from_millis(500)));
        tokio::select! { () = tokio::time::sleep(pause) => {}, () = stop.cancelled() => return false }
    }
}

/// Waits until NATS is connected; `false` when stopped before.
async fn connected(bus: &NatsBus, causes: &watch::Sender<Causes>, stop: &CancellationToken) -> bool {
    let mut health = bus.health();
    loop {
        let (cause, tried) = {
            let health = health.borrow_and_update();
            (health.disconnected(), health.connect_error.is_some())
        };
        let Some(cause) = cause else { return true };
        causes.send_if_modified(|known| {
            let news = *known != [cause.as_str()];
            if news {
                if tried {
                    tracing::warn!(code = %Code::SH2001, "not ready: {cause}");
                }
                *known = vec![cause];
            }
            news
        });
        tokio::select! { _ = health.changed() => {}, () = stop.cancelled() => return false } // the bus has the sender
    }
}

/// The configured name, or one that is unique: host name and process id.
fn worker_id(configured: &str) -> String {
    if !configured.is_empty() {
        return configured.to_owned();
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    format!("{}-{}", if host.is_empty() { "worker" } else { host }, std::process::id())
}
