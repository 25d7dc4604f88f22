//! The engine: pulls commands, executes each in a straight line of steps (`dispatch`), and settles its message
//! (`conclude`) by one table ([`settle`]). Uses the bus through its port only, and no Kubernetes client.

mod attempt;
mod conclude;
mod dead_letter;
mod decode_guard;
mod dispatch;
mod error;
mod heartbeat;
mod isolation;
mod lease;
mod params_cost;
mod progress;
pub mod provenance;
mod publish;
mod quota;
mod readiness;
pub mod record;
mod requeue;
mod result_pause;
mod run;
pub mod serve;
pub mod settle;
mod sweep;
mod target_limit;
mod task_events;
mod urgent;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use error::Error;

use crate::bus::{Bus, Queue, Settlement};
use crate::clock::Clock;
use crate::cluster::Clusters;
use crate::error::Classify;
use crate::event::params::ParamsValidator;
use crate::retry;
use crate::task::{DynTask, Registry};
use crate::telemetry::metrics::{ErrorCode, Metrics, Word};

/// A worker with fewer slots reserves none to wait for due commands, but requests them at an interval. With four slots, a
/// target may use three, and a slot that waits would be the fourth: other targets would have none.
const MIN_SLOTS_TO_WAIT: usize = 5;
/// How often such a worker requests due commands.
const DUE_INTERVAL: Duration = Duration::from_secs(1);

/// Settings of the engine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name of the worker in events and leases.
    pub worker: String,
    /// Commands that are executed at the same time.
    pub slots: usize,
    /// Longest time that a pull waits for commands.
    pub pull_wait: Duration,
    /// `ack_wait` of the consumer.
    pub ack_wait: Duration,
    /// Time to live of leases in their bucket.
    pub lease_ttl: Duration,
    /// How long running commands may continue after a stop.
    pub grace: Duration,
}

/// One worker.
pub struct Engine {
    bus: Arc<dyn Bus>,
    registry: Arc<Registry>,
    params: HashMap<&'static str, ParamsValidator>,
    /// Verbs that never write to the cluster.
    read_only: HashSet<&'static str>,
    clusters: Arc<Clusters>,
    clock: Clock,
    metrics: Arc<Metrics>,
    settings: Settings,
    decode_guard: decode_guard::DecodeGuard,
    isolation: isolation::Isolation,
    target_limiter: target_limit::TargetLimiter,
    requeue_pacer: requeue::RequeuePacer,
    params_memory: quota::ParamsMemory,
    result_pause: result_pause::ResultPause,
    dead_letter_quota: quota::DeadLetterQuota,
    /// The grace period is over: tasks stop at their next safe point, and their commands are requeued.
    hand_back: CancellationToken,
}

impl Engine {
    /// A worker that does not run yet.
    ///
    /// # Errors
    /// When the schema of a task's parameters is not valid; with the verb.
    pub fn new(
        bus: Arc<dyn Bus>,
        registry: Registry,
        clusters: Arc<Clusters>,
        clock: Clock,
        metrics: Arc<Metrics>,
        settings: Settings,
    ) -> Result<Arc<Self>, String> {
        let (mut params, mut read_only) = (HashMap::new(), HashSet::new());
        for task in registry.iter() {
            if task.installation(&task.example()).is_ok_and(|installation| installation.is_none()) {
                read_only.insert(task.verb());
            }
            let validator = ParamsValidator::new(&task.params_schema());
            params.insert(task.verb(), validator.map_err(|error| format!("{}: {error}", task.verb()))?);
        }
        metrics.slots.set(i64::try_from(settings.slots).unwrap_or(i64::MAX));
        let hand_back = CancellationToken::new();
        let (registry, decode_guard) = (Arc::new(registry), decode_guard::DecodeGuard::default());
        let target_limiter = target_limit::TargetLimiter::new(clusters.names(), settings.slots);
        let requeue_pacer = requeue::RequeuePacer::new(settings.slots);
        Ok(Arc::new(Self {
            bus,
            registry,
            params,
            read_only,
            clusters,
            clock,
            metrics,
            settings,
            decode_guard,
            isolation: isolation::Isolation::default(),
            target_limiter,
            requeue_pacer,
            params_memory: quota::ParamsMemory::default(),
            result_pause: result_pause::ResultPause::default(),
            dead_letter_quota: quota::DeadLetterQuota::default(),
            hand_back,
        }))
    }

    fn task(&self, verb: &str) -> Option<(&dyn DynTask, &ParamsValidator)> {
        Some((self.registry.get(verb)?, self.params.get(verb)?))
    }

    /// Executes commands until `stop`. Then running commands may end within the grace period. After it they are stopped at
    /// their next safe point and requeued. NATS delivers a command that does not stop to another worker.
    pub async fn run(self: &Arc<Self>, stop: CancellationToken) {
        let slots = Arc::new(Semaphore::new(self.settings.slots));
        let commands = TaskTracker::new();
        let urgent = tokio::spawn(Arc::clone(self).run_urgent(stop.clone()));
        let pull_loop = PullLoop { slots, commands: commands.clone(), stop };
        tokio::join!(self.pull_new(&pull_loop), self.pull_due(&pull_loop));
        let _ = urgent.await; // it completes the commands that it has started
        commands.close();
        tracing::info!(running = commands.len(), "stopping: no new commands are pulled");
        if tokio::time::timeout(self.settings.grace, commands.wait()).await.is_err() {
            tracing::warn!(running = commands.len(), "the grace period is over: requeuing running commands");
            self.hand_back.cancel();
            if tokio::time::timeout(run::SAFE_POINT * 2, commands.wait()).await.is_err() {
                tracing::error!(
                    running = commands.len(),
                    "commands did not stop in time; NATS delivers them to another worker"
                );
            }
        }
    }

    /// Pulls new commands for all free slots until the worker stops.
    async fn pull_new(self: &Arc<Self>, pull_loop: &PullLoop) {
        let mut failures = 0;
        while let Some(permits) = pull_loop.free_slots(self.settings.slots).await {
            let pulled = self.pull(Queue::Commands, permits, self.settings.pull_wait, pull_loop).await;
            self.note_pull(pulled, &mut failures, pull_loop).await;
        }
    }

    /// Pulls commands that waited and are due. One slot waits for the first of them; then at most half of the slots are
    /// requested, so that neither stream starves the other. A worker with few slots reserves none to wait.
    async fn pull_due(self: &Arc<Self>, pull_loop: &PullLoop) {
        let (half, can_wait) = (self.settings.slots.div_ceil(2), self.settings.slots >= MIN_SLOTS_TO_WAIT);
        let (mut failures, mut most) = (0, 1);
        while let Some(permits) = pull_loop.free_slots(most).await {
            let asked = permits.num_permits();
            let wait = if can_wait && most == 1 { self.settings.pull_wait } else { Duration::ZERO };
            let pulled = self.pull(Queue::Waiting, permits, wait, pull_loop).await;
            let taken = self.note_pull(pulled, &mut failures, pull_loop).await;
            most = if taken == asked { half } else { 1 };
            if taken == 0 && !can_wait {
                pull_loop.pause(DUE_INTERVAL).await;
            }
        }
    }

    /// The number of commands of a pull. Logs a failure and pauses after it.
    async fn note_pull(
        &self,
        pulled: Result<usize, crate::bus::Error>,
        failures: &mut u32,
        pull_loop: &PullLoop,
    ) -> usize {
        match pulled {
            Ok(taken) => {
                *failures = 0;
                taken
            }
            Err(error) => {
                *failures += 1;
                self.metrics.bus_errors.get_or_create(&ErrorCode { code: Word(error.code().as_str()) }).inc();
                tracing::warn!(code = %error.code(), "cannot pull commands: {error}");
                pull_loop.pause(retry::IN_PLACE.delay(*failures, None)).await;
                0
            }
        }
    }

    /// Pulls at most as many commands as there are permits. Reads the batch to its end, because this worker must settle each
    /// delivered message. After a stop it returns them with a NAK.
    async fn pull(
        self: &Arc<Self>,
        queue: Queue,
        mut permits: OwnedSemaphorePermit,
        wait: Duration,
        pull_loop: &PullLoop,
    ) -> Result<usize, crate::bus::Error> {
        let mut batch = self.bus.pull(queue, permits.num_permits(), wait);
        let mut taken = 0;
        while let Some(delivery) = batch.next().await {
            let delivery = delivery?;
            let permit = permits.split(1);
            taken += 1;
            if pull_loop.stop.is_cancelled() {
                delivery.acker.settle(Settlement::Nak(Duration::ZERO)).await?;
                continue;
            }
            let engine = Arc::clone(self);
            pull_loop.commands.spawn(async move {
                engine.handle(delivery).await;
                drop(permit);
            });
        }
        Ok(taken)
    }
}

/// State that the loops of both streams share.
struct PullLoop {
    slots: Arc<Semaphore>,
    commands: TaskTracker,
    stop: CancellationToken,
}

impl PullLoop {
    /// Acquires free slots, at least one and at most `most`. Slots are acquired before the pull, so that no command waits in
    /// a buffer while its `ack_wait` runs (`tests/it_bus/facts.rs`). `None` after a stop.
    async fn free_slots(&self, most: usize) -> Option<OwnedSemaphorePermit> {
        let mut permits = tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            permit = Arc::clone(&self.slots).acquire_owned() => permit.ok()?,
        };
        let more = self.slots.available_permits().min(most.saturating_sub(1));
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        if let Ok(rest) = Arc::clone(&self.slots).try_acquire_many_owned(more) {
            permits.merge(rest);
        }
        Some(permits)
    }

    async fn pause(&self, pause: Duration) {
        tokio::select! { () = tokio::time::sleep(pause) => {}, () = self.stop.cancelled() => {} }
    }
}
