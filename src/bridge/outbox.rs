//! Pushes results to Meshery's event endpoint, `POST /api/system/events`: servers since 2026-07 open no event stream. A
//! durable consumer, which all replicas share, holds what Meshery has not accepted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, mpsc};

use super::error::Error;
use super::feed;
use super::identity::Reference;
use super::metrics::Metrics;
use super::proto::{EventType, EventsResponse};
use super::text;
use crate::client::{self, Client, Observed, QueuedMessage};
use crate::clock::Clock;
use crate::config::{Bridge, Meshery};
use crate::http::{self, Cookie, Response};
use crate::retry;

/// Results of one pull.
const BATCH: usize = 16;
/// Longest time of one pull.
const WAIT: Duration = Duration::from_secs(10);
/// Longest request to Meshery.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 1 << 20;
/// Warnings that wait for Meshery. Further ones are dropped: they also go to event streams.
const MAX_WARNINGS: usize = 64;
/// Delay after Meshery has refused the credentials.
const REFUSED: Duration = Duration::from_mins(1);
/// How often the length of the queue is measured.
const MEASURE: Duration = Duration::from_secs(15);
const EVENTS: &str = "/api/system/events";

/// Client of one Meshery server.
pub(super) struct Outbox {
    http: http::Client,
    url: String,
    /// Name of the bridge.
    name: String,
    /// `cluster_uid` of the targets.
    uids: BTreeMap<String, String>,
    metrics: Arc<Metrics>,
    warnings: mpsc::Sender<Value>,
    waiting: Mutex<mpsc::Receiver<Value>>,
}

/// What happens with an event after Meshery's answer.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Accepted, or refused for its content, which no repetition changes.
    Done,
    /// Sent again after a delay.
    Again(Duration),
}

impl Outbox {
    pub(super) async fn new(bridge: &Bridge, meshery: &Meshery, metrics: Arc<Metrics>) -> Result<Self, Error> {
        let http = http::Client::new(&meshery.credentials, TIMEOUT).await;
        let http = http.map_err(|error| Error::Settings(format!("bridge.meshery: {error}")))?;
        let secret = meshery.token_file.clone().map(|path| ("token", path));
        let cookie = Cookie { text: format!("meshery-provider={}", meshery.provider), secret };
        let (warnings, waiting) = mpsc::channel(MAX_WARNINGS);
        let uid =
            |(id, target): (&String, &crate::config::BridgeTarget)| Some((id.clone(), target.cluster_uid.clone()?));
        Ok(Self {
            http: http.with_cookie(cookie),
            url: meshery.url.trim_end_matches('/').to_owned(),
            name: bridge.name.clone(),
            uids: bridge.targets.iter().filter_map(uid).collect(),
            metrics,
            warnings,
            waiting: Mutex::new(waiting),
        })
    }

    fn consumer(&self) -> String {
        format!("bridge_{}_push", self.name)
    }

    /// Creates the consumer, so that no result of a command that follows is missed.
    pub(super) async fn prepare(&self, client: &Client) -> Result<(), client::Error> {
        client.result_queue(&self.consumer()).await.map(|_| ())
    }

    /// Adds a warning that no result has.
    pub(super) fn warn(&self, reference: &Reference, event: &EventsResponse) {
        let _ = self.warnings.try_send(self.body(reference, event, ""));
    }

    /// Pushes results and warnings, without end.
    pub(super) async fn push(self: Arc<Self>, client: Client) {
        let results = feed::repeat("results for Meshery", || self.clone().push_results(client.clone()));
        let warnings = async {
            let mut waiting = self.waiting.lock().await;
            while let Some(body) = waiting.recv().await {
                self.send(&body, 1).await;
            }
        };
        tokio::join!(results, warnings, self.measure(&client));
    }

    /// Measures the queue, without end.
    async fn measure(&self, client: &Client) {
        loop {
            Clock::system().sleep(MEASURE).await;
            if let Ok(queue) = client.result_queue(&self.consumer()).await
                && let Ok(waiting) = queue.waiting().await
            {
                self.metrics.push_queued.set(i64::try_from(waiting).unwrap_or(i64::MAX));
            }
        }
    }

    async fn push_results(self: Arc<Self>, client: Client) -> Result<(), client::Error> {
        let queue = client.result_queue(&self.consumer()).await?;
        loop {
            let mut batch = queue.next(BATCH, WAIT).await?;
            while let Some(result) = batch.next().await.transpose()? {
                self.push_result(&result).await?;
            }
        }
    }

    async fn push_result(&self, result: &QueuedMessage) -> Result<(), client::Error> {
        for body in self.bodies(result) {
            if let Verdict::Again(delay) = self.send(&body, result.delivered).await {
                return result.repeat_after(delay).await;
            }
        }
        result.ack().await
    }

    /// The events of a result; none for the results of other producers.
    fn bodies(&self, result: &QueuedMessage) -> Vec<Value> {
        let Some(observation) = result.observation() else { return Vec::new() };
        let (Some(reference), Observed::Result(data)) =
            (feed::reference(&self.name, &observation), &observation.observed)
        else {
            return Vec::new();
        };
        let events = text::result(&reference, data, true);
        // The last one is the result. The findings before it are in the report, and Meshery stores each event for good.
        let last = events.last();
        last.map(|event| self.body(&reference, event, observation.key.as_str())).into_iter().collect()
    }

    fn body(&self, reference: &Reference, event: &EventsResponse, key: &str) -> Value {
        let severity = match event.event_type() {
            EventType::Info => "success",
            EventType::Warn => "warning",
            EventType::Error => "error",
        };
        let target = reference.target.as_str();
        let mut metadata = json!({
            "operationId": reference.operation_id, "commandKey": key, "target": target, "details": event.details,
        });
        if event.event_type() == EventType::Error {
            // In the form of meshkit's errors, which the UI shows.
            metadata["error"] = json!({
                "Code": event.error_code, "Severity": 2,
                "ShortDescription": [event.summary], "LongDescription": [event.details],
                "ProbableCause": [event.probable_cause], "SuggestedRemediation": [event.suggested_remediation],
            });
        }
        json!({
            "actedUpon": self.acted_upon(target), "category": "istio",
            "action": if reference.delete { "undeploy" } else { "deploy" },
            "severity": severity, "description": event.summary, "metadata": metadata,
        })
    }

    /// Meshery identifies clusters by the UID of `kube-system`; without it, by a UUID made from the target's id.
    fn acted_upon(&self, target: &str) -> String {
        self.uids.get(target).cloned().unwrap_or_else(|| named_uuid(&format!("sailhand target {target}")))
    }

    async fn send(&self, body: &Value, delivered: u32) -> Verdict {
        match self.post(EVENTS, body).await {
            Ok(Response { status: 200..=299, .. }) => {
                self.metrics.push("accepted");
                Verdict::Done
            }
            Ok(Response { status: status @ (301..=303 | 307 | 308 | 401 | 403), .. }) => {
                tracing::error!(status, "Meshery does not accept the credentials of bridge.meshery");
                self.metrics.push("repeated");
                Verdict::Again(REFUSED)
            }
            Ok(Response { status: status @ (400..=407 | 409..=428), .. }) => {
                tracing::error!(status, event = %body["description"], "Meshery refuses an event");
                self.metrics.push("refused");
                Verdict::Done
            }
            other => {
                let cause = other.map_or_else(|error| error.to_string(), |answer| format!("status {}", answer.status));
                tracing::warn!("cannot push an event to Meshery: {cause}");
                self.metrics.push("repeated");
                Verdict::Again(retry::ATTEMPTS.delay(delivered, Some(retry::ATTEMPTS.first)))
            }
        }
    }

    /// Sends JSON to a path of the server, as the configured user.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Response, http::Error> {
        let url = format!("{}{path}", self.url);
        self.http.send(Method::POST, &url, &[], Some(body.to_string()), MAX_ANSWER).await
    }

    /// Reads a path of the server, as the configured user.
    pub(super) async fn get(&self, path: &str) -> Result<Response, http::Error> {
        self.http.send(Method::GET, &format!("{}{path}", self.url), &[], None, MAX_ANSWER).await
    }
}

/// A UUID (version 8) made from a name: the same for every replica and start.
pub(super) fn named_uuid(name: &str) -> String {
    let digest = Sha256::digest(name);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}
