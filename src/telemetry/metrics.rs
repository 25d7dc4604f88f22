//! Prometheus metrics of a worker. Labels are bounded: verbs and outcomes are ours, never a sender's text.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

/// A label value that is known when the program is built, or the registry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Word(pub &'static str);

impl EncodeLabelValue for Word {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        self.0.encode(encoder)
    }
}

/// Labels of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct VerbOutcome {
    /// A verb of the registry, or `unknown`.
    pub verb: Word,
    /// See [`crate::event::Outcome`].
    pub outcome: Word,
}

/// Label of a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Verb {
    /// A verb of the registry.
    pub verb: Word,
}

/// Label of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ErrorCode {
    /// See [`crate::error::Code`].
    pub code: Word,
}

/// Label of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    /// See [`crate::bus::DeadReason`].
    pub reason: Word,
}

/// All metrics of one process.
pub struct Metrics {
    registry: Registry,
    /// Commands ended, by verb and outcome.
    pub commands: Family<VerbOutcome, Counter>,
    /// From receipt to settlement, seconds.
    pub duration: Family<Verb, Histogram>,
    /// Attempts that will be repeated.
    pub retries: Family<Verb, Counter>,
    /// Deliveries of commands that had ended already.
    pub duplicates: Counter,
    /// Results that another worker had published first.
    pub fenced_results: Counter,
    /// Commands that are being executed.
    pub in_flight: Gauge,
    /// Slots of this worker.
    pub slots: Gauge,
    /// Deliveries that were requeued because another command held the lease.
    pub lease_waits: Counter,
    /// Leases lost while a task ran.
    pub leases_lost: Counter,
    /// Dead letters written, by reason.
    pub dead_letters: Family<Reason, Counter>,
    /// Rejected messages without a dead letter, because their target had too many.
    pub dropped_dead_letters: Counter,
    /// Messages rejected, by code.
    pub rejected: Family<ErrorCode, Counter>,
    /// Failures of tasks, by code; the cluster's begin with `SH30`.
    pub task_errors: Family<ErrorCode, Counter>,
    /// Failures of the bus, by code.
    pub bus_errors: Family<ErrorCode, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds: fn() -> Histogram = || Histogram::new([0.005, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 1200.0]);
        let durations = Family::new_with_constructor(seconds);
        let mut registry = Registry::with_prefix("sailhand");
        let to = &mut registry;
        Self {
            commands: register(to, "commands", "Commands ended, by verb and outcome", Family::default()),
            duration: register(to, "command_duration_seconds", "From receipt to settlement", durations),
            retries: register(to, "retries", "Attempts that will be repeated", Family::default()),
            duplicates: register(to, "duplicates", "Deliveries of ended commands", Counter::default()),
            fenced_results: register(
                to,
                "fenced_results",
                "Results another worker published first",
                Counter::default(),
            ),
            in_flight: register(to, "commands_in_flight", "Commands being executed", Gauge::default()),
            slots: register(to, "slots", "Commands that this worker executes at the same time", Gauge::default()),
            lease_waits: register(
                to,
                "lease_waits",
                "Deliveries requeued because another command held the lease of the installation",
                Counter::default(),
            ),
            leases_lost: register(to, "leases_lost", "Leases lost while a task ran", Counter::default()),
            dead_letters: register(to, "dead_letters", "Dead letters written, by reason", Family::default()),
            dropped_dead_letters: register(
                to,
                "dropped_dead_letters",
                "Rejected messages without a dead letter",
                Counter::default(),
            ),
            rejected: register(to, "rejected_messages", "Messages rejected, by code", Family::default()),
            task_errors: register(to, "task_errors", "Failures of tasks, by code", Family::default()),
            bus_errors: register(to, "bus_errors", "Failures of the bus, by code", Family::default()),
            registry,
        }
    }
}

impl Metrics {
    /// A command ended.
    pub fn ended(&self, verb: &'static str, outcome: &'static str, took: Duration) {
        self.commands.get_or_create(&VerbOutcome { verb: Word(verb), outcome: Word(outcome) }).inc();
        self.duration.get_or_create(&Verb { verb: Word(verb) }).observe(took.as_secs_f64());
    }

    /// The text that Prometheus reads.
    #[must_use]
    pub fn render(&self) -> String {
        render(&self.registry)
    }

    /// Renders for the health port.
    #[must_use]
    pub fn renderer(self: Arc<Self>) -> Arc<dyn Fn() -> String + Send + Sync> {
        Arc::new(move || self.render())
    }
}

/// Adds a metric to a registry. Gives the metric.
pub fn register<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

/// A registry in the text format of `OpenMetrics`.
#[must_use]
pub fn render(registry: &Registry) -> String {
    let mut text = String::new();
    match encode(&mut text, registry) {
        Ok(()) => text,
        Err(fmt::Error) => String::new(),
    }
}
