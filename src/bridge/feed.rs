//! Reads results and retries from the bus and gives them to the open streams. Results come from a durable consumer, which
//! all replicas share: one that no stream has sent is delivered again, to this process or another.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use time::OffsetDateTime;

use super::identity::{self, Reference};
use super::proto::EventsResponse;
use super::stream::{Hub, Item, Rank, Receipt};
use super::text;
use crate::client::{self, Client, Observation, Observed, QueuedMessage};
use crate::clock::Clock;
use crate::event::{CommandKey, EventKind, ResultData, Target};
use crate::retry;

/// Results of one pull.
const BATCH: usize = 64;
/// Longest time of one pull.
const WAIT: Duration = Duration::from_secs(10);
/// Older results are not replayed to a stream.
const REPLAY: time::Duration = time::Duration::minutes(15);
/// Delay of a result that no stream has sent; it grows, because a client may read slowly for long.
const REPEAT: retry::Policy = retry::Policy { first: Duration::from_secs(1), cap: Duration::from_secs(15) };

/// State that the readers of the bus share.
pub(super) struct Feed {
    pub client: Client,
    pub hub: Arc<Hub>,
    /// Name of the bridge.
    pub name: String,
    /// Ids of the configured targets.
    pub targets: Vec<Target>,
}

/// The command of a result or event, if this bridge has sent it.
pub(super) fn reference(name: &str, observation: &Observation) -> Option<Reference> {
    let own = observation.attribute("commandsource").starts_with(&identity::source_prefix(name));
    own.then(|| Reference::parse(observation.attribute("commandid"))).flatten()
}

/// Repeats a reader of the bus after each failure, with a growing delay.
pub(super) async fn repeat<F>(what: &str, once: impl Fn() -> F)
where
    F: Future<Output = Result<(), client::Error>>,
{
    let mut failures = 0;
    loop {
        match once().await {
            Ok(()) => failures = 0,
            Err(error) => {
                failures += 1;
                tracing::warn!("cannot read {what}: {error}");
                Clock::system().sleep(retry::IN_PLACE.delay(failures, None)).await;
            }
        }
    }
}

impl Feed {
    /// Name of the durable consumer.
    fn consumer(&self) -> String {
        format!("bridge_{}_stream", self.name)
    }

    /// Gives results to the streams, without end.
    pub(super) async fn results(self: Arc<Self>) {
        let waiting = Arc::new(Mutex::new(HashSet::new()));
        repeat("results", || self.clone().read_results(waiting.clone())).await;
    }

    /// Creates the consumer, so that no result of a command that follows is missed.
    pub(super) async fn prepare(&self) -> Result<(), client::Error> {
        self.client.result_queue(&self.consumer()).await.map(|_| ())
    }

    async fn read_results(self: Arc<Self>, waiting: Arc<Mutex<HashSet<u64>>>) -> Result<(), client::Error> {
        let queue = self.client.result_queue(&self.consumer()).await?;
        let mut open = self.hub.open();
        loop {
            let _ = open.wait_for(|open| *open > 0).await;
            let mut batch = queue.next(BATCH, WAIT).await?;
            while let Some(result) = batch.next().await.transpose()? {
                // A redelivery of a result that still waits in a slow stream.
                if waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(result.sequence) {
                    self.publish_result(result, waiting.clone()).await?;
                }
            }
        }
    }

    async fn publish_result(
        &self,
        result: QueuedMessage,
        waiting: Arc<Mutex<HashSet<u64>>>,
    ) -> Result<(), client::Error> {
        let done = move |sequence| waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&sequence);
        let (mut events, targets) = match self.events(&result).await {
            Ok(events) => events,
            Err(error) => {
                done(result.sequence);
                return Err(error);
            }
        };
        let Some(last) = events.pop() else {
            done(result.sequence);
            return result.ack().await;
        };
        let own: Vec<_> = targets.iter().take(1).cloned().collect();
        for event in events {
            self.hub.publish(&Item { event: Arc::new(event), rank: Rank::Warning, targets: own.clone(), sent: None });
        }
        let (receipt, sent) = Receipt::new();
        self.hub.publish(&Item { event: Arc::new(last), rank: Rank::Final, targets, sent: Some(receipt) });
        tokio::spawn(async move {
            let settled = if sent.await.is_ok() {
                result.ack().await
            } else {
                result.repeat_after(REPEAT.delay(result.delivered, Some(REPEAT.first))).await
            };
            if let Err(error) = settled {
                tracing::warn!("cannot settle a result: {error}");
            }
            done(result.sequence);
        });
        Ok(())
    }

    /// Events of a result, the closing one last; none for the results of other producers and for old ones. The targets are
    /// those of the last event: that of the result first, then the others of a closing event.
    async fn events(&self, result: &QueuedMessage) -> Result<(Vec<EventsResponse>, Vec<Target>), client::Error> {
        let none = (Vec::new(), Vec::new());
        let Some(observation) = result.observation() else { return Ok(none) };
        let (Some(reference), Observed::Result(data)) = (reference(&self.name, &observation), &observation.observed)
        else {
            return Ok(none);
        };
        if OffsetDateTime::now_utc() - result.published > REPLAY {
            return Ok(none);
        }
        let alone = reference.targets == 1;
        let mut events = text::result(&reference, data, alone);
        let mut targets = vec![reference.target.clone()];
        if !alone && let Some(outcomes) = self.outcomes(&reference, &observation, result.sequence).await? {
            targets.extend(outcomes.iter().map(|(target, _)| target.clone()));
            events.push(text::closing(&reference, &outcomes));
        }
        Ok((events, targets))
    }

    /// Targets of an operation on several ones and whether it succeeded there, with the last of its results. No state is
    /// needed: the id of each command follows from the operation and its target.
    async fn outcomes(
        &self,
        reference: &Reference,
        observation: &Observation,
        sequence: u64,
    ) -> Result<Option<Vec<(Target, bool)>>, client::Error> {
        let source = observation.attribute("commandsource");
        let mut outcomes = Vec::new();
        for target in &self.targets {
            let id = Reference { target: target.clone(), ..reference.clone() }.id();
            let Some((found, result)) = self.client.result_with_sequence(&CommandKey::new(source, &id)).await? else {
                continue;
            };
            if found > sequence {
                return Ok(None);
            }
            outcomes.push((target.clone(), succeeded(&result)));
        }
        Ok((outcomes.len() == reference.targets).then_some(outcomes))
    }

    /// Gives failed attempts to the streams, without end.
    pub(super) async fn retries(self: Arc<Self>) {
        repeat("events", || self.clone().read_retries()).await;
    }

    async fn read_retries(self: Arc<Self>) -> Result<(), client::Error> {
        let mut events = self.client.live_events("retrying").await?;
        while let Some(observation) = events.next().await.transpose()? {
            if let (Some(reference), Observed::Event(EventKind::Retrying(retrying))) =
                (reference(&self.name, &observation), &observation.observed)
            {
                let event = Arc::new(text::retrying(&reference, retrying));
                let targets = vec![reference.target];
                self.hub.publish(&Item { event, rank: Rank::Retry, targets, sent: None });
            }
        }
        Ok(())
    }
}

fn succeeded(result: &ResultData) -> bool {
    result.outcome == crate::event::Outcome::Succeeded
}
