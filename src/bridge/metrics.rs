//! Prometheus metrics of the bridge. Labels come from our own lists, never from a request.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::error::Error;
use super::operation;
use crate::error::Classify;
use crate::telemetry::metrics::{self, Word, register};

/// Labels of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    /// Meshery's key, `design`, or `unknown`.
    operation: Word,
    /// `accepted`, or the code of the refusal.
    result: Word,
}

/// Label of what happens to an event.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: Word,
}

/// All metrics of a bridge.
pub(super) struct Metrics {
    registry: Registry,
    operations: Family<Operation, Counter>,
    events: Family<Outcome, Counter>,
    pushes: Family<Outcome, Counter>,
    pub(super) streams: Gauge,
    pub(super) push_queued: Gauge,
}

impl Metrics {
    pub(super) fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix("sailhand_bridge");
        let to = &mut registry;
        Arc::new(Self {
            operations: register(to, "operations", "Operations, by key and result", Family::default()),
            events: register(to, "stream_events", "Events of streams, by outcome: sent, dropped", Family::default()),
            pushes: register(to, "pushes", "Events pushed to Meshery, by outcome", Family::default()),
            streams: register(to, "streams", "Open event streams", Gauge::default()),
            push_queued: register(to, "push_queued", "Results that were not pushed to Meshery", Gauge::default()),
            registry,
        })
    }

    pub(super) fn render(&self) -> String {
        metrics::render(&self.registry)
    }

    /// Counts a call of `ApplyOperation`.
    pub(super) fn operation<T>(&self, key: &str, result: &Result<T, Error>) {
        let operation = operation::find(key).map_or("unknown", |operation| operation.key);
        self.count(operation, result);
    }

    /// Counts the deployment of a design.
    pub(super) fn design<T>(&self, result: &Result<T, Error>) {
        self.count("design", result);
    }

    fn count<T>(&self, operation: &'static str, result: &Result<T, Error>) {
        let result = result.as_ref().map_or_else(|error| error.code().as_str(), |_| "accepted");
        self.operations.get_or_create(&Operation { operation: Word(operation), result: Word(result) }).inc();
    }

    /// An event that a stream has `sent` or `dropped`.
    pub(super) fn event(&self, outcome: &'static str) {
        self.events.get_or_create(&Outcome { outcome: Word(outcome) }).inc();
    }

    /// A request to Meshery: `accepted`, `repeated` or `refused`.
    pub(super) fn push(&self, outcome: &'static str) {
        self.pushes.get_or_create(&Outcome { outcome: Word(outcome) }).inc();
    }
}
