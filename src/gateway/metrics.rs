//! Prometheus metrics of the gateway. Labels come from the configuration and from our own lists, never from a request.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Shared;
use super::refusal::Refusal;
use crate::telemetry::metrics::{self, Word, register};

/// Labels of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Route {
    /// Path of the route, such as `/v1/events`; `other` for paths that do not exist.
    route: String,
    status: u16,
}

/// Label of a principal of the configuration; empty for a request without valid credentials.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Principal {
    principal: String,
}

/// Labels of a refused request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Refused {
    principal: String,
    code: Word,
}

/// Label of a sink of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Sink {
    sink: String,
}

/// Labels of a request to the endpoint of a sink.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Delivery {
    sink: String,
    /// `accepted`, `repeated` or `dead_lettered`.
    outcome: Word,
}

/// All metrics of a gateway.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Route, Counter>,
    commands: Family<Principal, Counter>,
    refused: Family<Refused, Counter>,
    pub(super) waiting: Gauge,
    deliveries: Family<Delivery, Counter>,
    delay: Family<Sink, Histogram>,
    queued: Family<Sink, Gauge>,
}

impl Metrics {
    pub(super) fn new() -> Arc<Self> {
        let seconds: fn() -> Histogram = || Histogram::new([0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0, 600.0, 3600.0]);
        let (delays, mut registry) = (Family::new_with_constructor(seconds), Registry::with_prefix("sailhand_gateway"));
        let to = &mut registry;
        Arc::new(Self {
            requests: register(to, "requests", "HTTP requests, by route and status", Family::default()),
            commands: register(to, "commands", "Commands sent to the bus, by principal", Family::default()),
            refused: register(to, "refused", "Refused requests, by principal and code", Family::default()),
            waiting: register(to, "waiting_requests", "Requests that wait or stream events", Gauge::default()),
            deliveries: register(to, "sink_deliveries", "Requests to sinks, by outcome", Family::default()),
            delay: register(to, "sink_delay_seconds", "From publication to acceptance by the sink", delays),
            queued: register(to, "sink_queued", "Messages that the sink has not accepted", Family::default()),
            registry,
        })
    }

    pub(super) fn render(&self) -> String {
        metrics::render(&self.registry)
    }

    pub(super) fn accepted(&self, principal: &str) {
        self.commands.get_or_create(&Principal { principal: principal.to_owned() }).inc();
    }

    pub(super) fn refused(&self, principal: Option<&str>, refusal: &Refusal) {
        let principal = principal.unwrap_or_default().to_owned();
        self.refused.get_or_create(&Refused { principal, code: Word(refusal.code().as_str()) }).inc();
    }

    /// One request to the endpoint of a sink.
    pub(super) fn delivered(&self, sink: &str, outcome: &'static str) {
        self.deliveries.get_or_create(&Delivery { sink: sink.to_owned(), outcome: Word(outcome) }).inc();
    }

    /// Time from the publication of a message to its acceptance.
    pub(super) fn delay(&self, sink: &str, delay: Duration) {
        self.delay.get_or_create(&Sink { sink: sink.to_owned() }).observe(delay.as_secs_f64());
    }

    pub(super) fn queued(&self, sink: &str, messages: u64) {
        let messages = i64::try_from(messages).unwrap_or(i64::MAX);
        self.queued.get_or_create(&Sink { sink: sink.to_owned() }).set(messages);
    }
}

/// Counts a request by its route and status.
pub(super) async fn count(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    shared.metrics.requests.get_or_create(&Route { route, status: response.status().as_u16() }).inc();
    response
}
