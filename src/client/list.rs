//! Lists commands: queued, running and ended ones.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::message::StreamMessage;
use futures::StreamExt;
use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Client, CommandState, Error, Observation, Observed};
use crate::bus;
use crate::event::{CommandKey, EventKind, rfc3339, verb_and_version};

/// Maximum number of queued commands that are read. Each needs one request of about 0.3 ms.
const MAX_QUEUE: usize = 2_000;
/// Longest duration of a command: older events belong to commands that have ended.
const MAX_RUN: time::Duration = time::Duration::hours(24);

/// One command of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommandSummary {
    /// Its key, 32 hex digits.
    pub key: String,
    /// The cluster.
    pub target: String,
    /// The verb; empty when it is not known.
    pub verb: String,
    /// Its state.
    pub state: CommandState,
    /// Attempts started.
    pub attempts: u32,
    /// The worker of the last attempt; empty before the first one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub worker: String,
    /// When it was sent (queued) or last changed its state, RFC 3339.
    pub since: String,
}

/// Selects commands.
#[derive(Debug, Clone)]
pub struct ListFilter {
    /// Target; `None` means all.
    pub target: Option<String>,
    /// Commands that ended earlier are left out. Other commands are listed regardless of their age.
    pub since: OffsetDateTime,
}

impl Client {
    /// Commands, the newest last.
    ///
    /// # Errors
    /// When events or results cannot be read. Without the right to read the queue, queued commands are left out.
    pub async fn list(&self, filter: &ListFilter) -> Result<Vec<CommandSummary>, Error> {
        let subjects = self.bus().subjects();
        let from = filter.since.min(OffsetDateTime::now_utc() - MAX_RUN);
        let mut found: BTreeMap<CommandKey, CommandSummary> = BTreeMap::new();
        let target = filter.target.as_deref().unwrap_or("*");
        for kind in ["started", "retrying"] {
            let subject = subjects.events_of_kind(target, kind);
            for event in self.past(subjects.event_stream(), subject, from).await? {
                note_event(&mut found, &event);
            }
        }
        for result in self.past(subjects.result_stream(), subjects.results_of(target), from).await? {
            note_result(&mut found, &result);
        }
        match self.queued(target, &mut found).await {
            Err(Error::Bus(bus::Error::Denied { .. })) => {}
            queued => queued?,
        }
        let since = rfc3339(filter.since);
        let mut commands: Vec<_> = found.into_values().collect();
        commands.retain(|it| !it.state.has_ended() || instant(&it.since) >= instant(&since));
        commands.sort_by_key(|it| instant(&it.since));
        Ok(commands)
    }

    /// All stored messages of a subject.
    async fn past(&self, stream: String, subject: String, from: OffsetDateTime) -> Result<Vec<Observation>, Error> {
        let policy = DeliverPolicy::ByStartTime { start_time: from };
        let mut followed = self.follow(stream, subject, policy).await?;
        let mut found = Vec::new();
        let mut left = followed.pending;
        while left > 0 {
            let Some(message) = followed.messages.next().await.transpose()? else { break };
            left = message.pending;
            found.extend(message.observation);
        }
        Ok(found)
    }

    /// Adds commands of the queue and of its schedules that have no event.
    async fn queued(&self, target: &str, found: &mut BTreeMap<CommandKey, CommandSummary>) -> Result<(), Error> {
        let add = |key: CommandKey, message: &StreamMessage, event: &Map<String, Value>| {
            let its = message.subject.split('.').nth(2).unwrap_or_default();
            if target == "*" || its == target {
                let ty = event.get("type").and_then(Value::as_str).unwrap_or_default();
                found.entry(key).or_insert_with_key(|key| CommandSummary {
                    key: key.to_string(),
                    target: its.to_owned(),
                    verb: verb_and_version(ty, "command").map_or_else(String::new, |(verb, _)| verb.to_owned()),
                    state: CommandState::Queued,
                    attempts: 0,
                    worker: String::new(),
                    since: rfc3339(message.time),
                });
            }
            ControlFlow::Continue(())
        };
        self.visit_queues(&self.bus().subjects().queues(), MAX_QUEUE, add).await.map(drop)
    }
}

fn instant(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

fn note_event(found: &mut BTreeMap<CommandKey, CommandSummary>, observation: &Observation) {
    let Some(state) = CommandState::after(&observation.observed) else { return };
    let since = observation.attribute("time").to_owned();
    let known = found.get_mut(&observation.key);
    if known.as_ref().is_some_and(|known| instant(&known.since) > instant(&since)) {
        return;
    }
    match (&observation.observed, known) {
        (Observed::Event(EventKind::Started(started)), _) => {
            let summary = CommandSummary {
                key: observation.key.to_string(),
                target: observation.target.clone(),
                verb: started.verb.clone(),
                state,
                attempts: started.attempt,
                worker: started.worker.clone(),
                since,
            };
            found.insert(observation.key.clone(), summary);
        }
        (_, Some(known)) => {
            known.state = state;
            known.since = since;
        }
        (_, None) => {}
    }
}

fn note_result(found: &mut BTreeMap<CommandKey, CommandSummary>, observation: &Observation) {
    let Observed::Result(result) = &observation.observed else { return };
    let summary = CommandSummary {
        key: observation.key.to_string(),
        target: observation.target.clone(),
        verb: observation.result_verb().unwrap_or_default().to_owned(),
        state: CommandState::Ended(result.outcome),
        attempts: result.attempts,
        worker: result.worker.clone(),
        since: observation.attribute("time").to_owned(),
    };
    found.insert(observation.key.clone(), summary);
}
