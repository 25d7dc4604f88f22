//! Posts results and events to the HTTP endpoints of `gateway.sinks`. A durable consumer for each sink, which all replicas
//! share, has what its endpoint has not accepted: neither a restart nor an outage loses an event.

mod request;

use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Error;
use super::metrics::Metrics;
use crate::client::{self, Client, Queue, QueueOptions, QueuedMessage};
use crate::clock::Clock;
use crate::config;
use crate::config::gateway::RESULT;
use crate::error::{Class, Classify, Code, Problem};
use crate::event::{Outcome, verb_and_version};
use crate::http;
use crate::retry;
use crate::web::feed;

/// Messages of one pull.
const BATCH: usize = 16;
/// The consumer of a sink that no gateway serves for so long is deleted, and with it the position of the sink.
const UNUSED: Duration = Duration::from_hours(30 * 24);
/// How often the length of the queues is measured.
const MEASURE: Duration = Duration::from_secs(15);
/// First delay between two requests for an event.
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// What follows from the answer of an endpoint.
enum Verdict {
    Accepted,
    /// No repetition changes it.
    Refused(String),
    /// Repeated, not before the delay that the endpoint requests.
    Again(String, Option<Duration>),
}

/// The endpoint does not accept an event.
#[derive(Debug, thiserror::Error)]
#[error("sink {sink}: {reason}, after {deliveries} {}", if *deliveries == 1 { "delivery" } else { "deliveries" })]
struct NotAccepted {
    sink: String,
    reason: String,
    deliveries: u32,
}

impl Classify for NotAccepted {
    fn class(&self) -> Class {
        Class::Terminal
    }

    fn code(&self) -> Code {
        Code::SH3814
    }

    fn remedy(&self) -> String {
        self.code().remedy().to_owned()
    }
}

/// One sink and what its tasks need.
struct Sink {
    name: String,
    settings: config::gateway::Sink,
    http: http::Client,
    client: Client,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
}

/// Creates the consumers of all sinks, so that no event of a later command is missed, and posts until `stop`. The tasks end
/// when the requests that have started have ended.
///
/// # Errors
/// [`Error`].
pub(super) async fn start(
    settings: &config::Gateway,
    client: &Client,
    metrics: &Arc<Metrics>,
    stop: &CancellationToken,
) -> Result<TaskTracker, Error> {
    let tasks = TaskTracker::new();
    for (name, settings) in &settings.sinks {
        let fail = |reason: http::Error| Error::Credential {
            what: format!("gateway.sinks.{name}.credentials"),
            reason: reason.to_string(),
        };
        let sink = Arc::new(Sink {
            name: name.clone(),
            settings: settings.clone(),
            http: http::Client::new(&settings.credentials, settings.timeout).await.map_err(fail)?,
            client: client.clone(),
            metrics: metrics.clone(),
            stop: stop.clone(),
        });
        let mut queues = Vec::new();
        for options in sink.queues() {
            queues.push(client.queue(options.clone()).await?);
            let (sink, stop) = (sink.clone(), stop.clone());
            tasks.spawn(async move {
                feed::follow(stop, || sink.clone().post_queue(options.clone())).await;
            });
        }
        tasks.spawn(sink.measure(queues));
    }
    tasks.close();
    Ok(tasks)
}

impl Sink {
    /// The consumers: one of results and one of events, as far as `kinds` lists them.
    fn queues(&self) -> Vec<QueueOptions> {
        let (results, events): (Vec<String>, Vec<String>) =
            self.settings.kinds.iter().cloned().partition(|kind| kind == RESULT);
        let options = |part: &str, kinds| QueueOptions {
            name: format!("gateway_{}_{part}", self.name),
            kinds,
            targets: self.settings.targets.clone(),
            // A message may wait for a request before its own, and for the write of its dead letter.
            ack_wait: (self.settings.timeout * 3).max(FIRST_DELAY),
            unused: UNUSED,
        };
        let results = (!results.is_empty()).then(|| options("results", Vec::new()));
        let events = (!events.is_empty()).then(|| options("events", events));
        results.into_iter().chain(events).collect()
    }

    /// Posts the messages of a queue as they arrive, until an error of the bus or `stop`.
    async fn post_queue(self: Arc<Self>, options: QueueOptions) -> Result<(), client::Error> {
        let queue = self.client.queue(options).await?;
        let messages = queue.messages(BATCH).take_until(self.stop.clone().cancelled_owned());
        let posted = messages.try_for_each_concurrent(self.settings.max_requests, |message| {
            let sink = self.clone();
            async move {
                if let Err(error) = sink.settle(&message).await {
                    tracing::warn!(sink = %sink.name, "cannot settle a message; it is delivered again: {error}");
                }
                Ok(())
            }
        });
        posted.await?;
        // `stop`: the caller ends this.
        self.stop.cancelled().await;
        Ok(())
    }

    async fn settle(&self, message: &QueuedMessage) -> Result<(), client::Error> {
        let Some(event) = message.event() else {
            tracing::warn!(sink = %self.name, subject = message.subject(), "a message is not a CloudEvent; it is not posted");
            return message.ack().await;
        };
        if !self.selects(&event) {
            return message.ack().await;
        }
        let (reason, asked) = match self.post(&event).await {
            Verdict::Accepted => {
                self.metrics.delivered(&self.name, "accepted");
                let delay = OffsetDateTime::now_utc() - message.published;
                self.metrics.delay(&self.name, delay.try_into().unwrap_or_default());
                return message.ack().await;
            }
            Verdict::Refused(reason) => return self.give_up(message, reason).await,
            Verdict::Again(reason, asked) => (reason, asked),
        };
        if OffsetDateTime::now_utc() - message.published > self.settings.give_up_after {
            return self.give_up(message, reason).await;
        }
        let cap = self.settings.max_retry_delay;
        let delay = retry::Policy { first: FIRST_DELAY.min(cap), cap }.delay(message.delivered, asked);
        tracing::warn!(
            sink = %self.name, subject = message.subject(), delivered = message.delivered, delay_ms = delay.as_millis(),
            "an event was not accepted and is posted again: {reason}"
        );
        self.metrics.delivered(&self.name, "repeated");
        message.repeat_after(delay).await
    }

    async fn give_up(&self, message: &QueuedMessage, reason: String) -> Result<(), client::Error> {
        let error = NotAccepted { sink: self.name.clone(), reason, deliveries: message.delivered };
        let problem = Problem::new(&error);
        message.dead_letter(&self.client, &self.name, &problem).await?;
        tracing::error!(sink = %self.name, subject = message.subject(), code = problem.code, "{}", problem.message);
        self.metrics.delivered(&self.name, "dead_lettered");
        Ok(())
    }

    /// Whether the filters of the sink select this event. Kinds and targets are filtered by the consumer.
    fn selects(&self, event: &Map<String, Value>) -> bool {
        let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
        let outcome = || event.get("data").and_then(|data| data.get("outcome")).and_then(Value::as_str);
        let is_result = verb_and_version(text("type"), RESULT).is_some();
        let wanted = |wanted: &Outcome| Some(wanted.as_str()) == outcome();
        let fits = !is_result || self.settings.outcomes.is_empty() || self.settings.outcomes.iter().any(wanted);
        fits && text("commandsource").starts_with(&self.settings.source_prefix)
    }

    /// Measures the queues until `stop`. Without an answer, the last length stays.
    async fn measure(self: Arc<Self>, queues: Vec<Queue>) {
        while self.stop.run_until_cancelled(Clock::system().sleep(MEASURE)).await.is_some() {
            if let Ok(messages) = try_join_all(queues.iter().map(Queue::waiting)).await {
                self.metrics.queued(&self.name, messages.iter().sum());
            }
        }
    }
}
