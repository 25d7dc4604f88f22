//! The engine: pulls commands, carries each through one straight line of steps (`dispatch`) and settles it by one
//! table ([`settle`]). Knows the bus by its port only, and no Kubernetes.

mod attempt;
mod bury;
mod dispatch;
mod error;
mod heartbeat;
mod lease;
mod notices;
mod provenance;
mod readiness;
mod reading;
mod reporter;
pub mod serve;
pub mod settle;
mod share;
mod sweep;
mod waiting;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use error::Error;

use crate::bus::{Bus, Settlement};
use crate::clock::Clock;
use crate::cluster::Clusters;
use crate::error::Classify;
use crate::event::params::ParamsValidator;
use crate::retry;
use crate::task::{DynTask, Registry};
use crate::telemetry::metrics::{ErrorCode, Metrics, Word};

/// Numbers of the engine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name in events and leases.
    pub worker: String,
    /// Commands at once.
    pub slots: usize,
    /// Longest wait of a pull.
    pub pull_wait: Duration,
    /// The consumer's.
    pub ack_wait: Duration,
    /// The lease bucket's.
    pub lease_ttl: Duration,
    /// How long tasks may go on after a stop.
    pub grace: Duration,
}

/// One worker.
pub struct Engine {
    bus: Arc<dyn Bus>,
    registry: Arc<Registry>,
    params: HashMap<&'static str, ParamsValidator>,
    clusters: Arc<Clusters>,
    clock: Clock,
    metrics: Arc<Metrics>,
    settings: Settings,
    readings: reading::Readings,
    shares: share::Shares,
    waiting: waiting::Waiting,
    /// Tasks have to hand their commands back now.
    leave: CancellationToken,
}

impl Engine {
    /// Puts a worker together.
    ///
    /// # Errors
    /// When a task's parameters have no valid schema, with the verb.
    pub fn new(
        bus: Arc<dyn Bus>,
        registry: Registry,
        clusters: Arc<Clusters>,
        clock: Clock,
        metrics: Arc<Metrics>,
        settings: Settings,
    ) -> Result<Arc<Self>, String> {
        let mut params = HashMap::new();
        for task in registry.iter() {
            let validator = ParamsValidator::new(&task.params_schema());
            params.insert(task.verb(), validator.map_err(|error| format!("{}: {error}", task.verb()))?);
        }
        metrics.slots.set(i64::try_from(settings.slots).unwrap_or(i64::MAX));
        let leave = CancellationToken::new();
        let (registry, readings) = (Arc::new(registry), reading::Readings::default());
        let shares = share::Shares::new(clusters.names(), settings.slots);
        let waiting = waiting::Waiting::new(settings.slots);
        Ok(Arc::new(Self {
            bus,
            registry,
            params,
            clusters,
            clock,
            metrics,
            settings,
            readings,
            shares,
            waiting,
            leave,
        }))
    }

    fn task(&self, verb: &str) -> Option<(&dyn DynTask, &ParamsValidator)> {
        Some((self.registry.get(verb)?, self.params.get(verb)?))
    }

    /// Carries out commands until `stop`, then drains: running commands may end within the grace period, are told to
    /// hand themselves back after it, and are left to the bus when they do not.
    pub async fn run(self: &Arc<Self>, stop: CancellationToken) {
        let slots = Arc::new(Semaphore::new(self.settings.slots));
        let commands = TaskTracker::new();
        let mut failures = 0;
        while let Some(permits) = free_slots(&slots, &stop).await {
            match self.pull(permits, &commands, &stop).await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    self.metrics.bus_errors.get_or_create(&ErrorCode { code: Word(error.code().as_str()) }).inc();
                    tracing::warn!(code = %error.code(), "cannot pull commands: {error}");
                    let pause = retry::IN_PLACE.delay(failures, None);
                    tokio::select! { () = tokio::time::sleep(pause) => {}, () = stop.cancelled() => {} }
                }
            }
        }
        commands.close();
        tracing::info!(running = commands.len(), "stopping: no new commands are taken");
        if tokio::time::timeout(self.settings.grace, commands.wait()).await.is_err() {
            tracing::warn!(running = commands.len(), "the grace period is over: handing commands back");
            self.leave.cancel();
            if tokio::time::timeout(attempt::SAFE_POINT * 2, commands.wait()).await.is_err() {
                tracing::error!(running = commands.len(), "left to the bus, which gives them to another worker");
            }
        }
    }

    /// Pulls as many commands as there are permits and reads the batch to its end: what the bus has handed over is
    /// ours to settle. After a stop it is handed back.
    async fn pull(
        self: &Arc<Self>,
        mut permits: OwnedSemaphorePermit,
        commands: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<(), crate::bus::Error> {
        let mut batch = self.bus.pull(permits.num_permits(), self.settings.pull_wait);
        while let Some(delivery) = batch.next().await {
            let delivery = delivery?;
            let permit = permits.split(1);
            if stop.is_cancelled() {
                delivery.acker.settle(Settlement::Nak(Duration::ZERO)).await?;
                continue;
            }
            let engine = Arc::clone(self);
            commands.spawn(async move {
                engine.handle(delivery).await;
                drop(permit);
            });
        }
        Ok(())
    }
}

/// All slots that are free, at least one. Permits come before the pull, so that no command ever waits in a buffer with
/// its `ack_wait` running (`tests/it_bus/facts.rs`). `None` after a stop.
async fn free_slots(slots: &Arc<Semaphore>, stop: &CancellationToken) -> Option<OwnedSemaphorePermit> {
    let mut permits = tokio::select! {
        biased;
        () = stop.cancelled() => return None,
        permit = Arc::clone(slots).acquire_owned() => permit.ok()?,
    };
    let more = u32::try_from(slots.available_permits()).unwrap_or(u32::MAX);
    if let Ok(rest) = Arc::clone(slots).try_acquire_many_owned(more) {
        permits.merge(rest);
    }
    Some(permits)
}
