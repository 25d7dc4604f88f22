//! Lists, pauses and resumes targets.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Client, Error};
use crate::bus::{self, TargetCard};
use crate::event::{Target, rfc3339};

/// The pause of a target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pause {
    /// When it started, RFC 3339.
    pub since: String,
    /// Who paused the target.
    pub by: String,
    /// Reason that the operator gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// State of a target on the bus.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TargetState {
    /// Id of the target.
    pub target: String,
    /// The pause; `None` when the target is not paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<Pause>,
    /// Queued commands, including running ones and those in the waiting stream.
    pub queued: u64,
    /// Those of them in the waiting stream: they wait for a lease, a slot, the end of a pause, or their next attempt.
    pub waiting: u64,
    /// Dead letters of the target.
    pub dead_letters: u64,
    /// Cards of the workers that have the target; empty when there are none, or they may not be read.
    pub workers: Vec<TargetCard>,
}

impl Client {
    /// Pauses a target until [`Client::resume`]. Running commands continue.
    ///
    /// # Errors
    /// When the server does not confirm it.
    pub async fn pause(&self, target: &Target, by: &str, reason: Option<&str>) -> Result<(), Error> {
        let since = rfc3339(OffsetDateTime::now_utc());
        let pause = Pause { since, by: by.to_owned(), reason: reason.map(str::to_owned) };
        let note = serde_json::json!(pause);
        Ok(self.bus().pause(target, &note).await?)
    }

    /// Ends a pause. Returns whether the target was paused.
    ///
    /// # Errors
    /// When the server does not confirm it.
    pub async fn resume(&self, target: &Target) -> Result<bool, Error> {
        let paused = self.pauses().await?.contains_key(target.as_str());
        if paused {
            self.bus().resume(target).await?;
        }
        Ok(paused)
    }

    /// The targets that workers have, that `known` names, that are paused, or that have commands or dead letters; by name.
    ///
    /// # Errors
    /// When the streams cannot be read.
    pub async fn targets(&self, known: Vec<String>) -> Result<Vec<TargetState>, Error> {
        let subjects = self.bus().subjects();
        let mut targets: BTreeMap<String, TargetState> = BTreeMap::new();
        let mut known: Vec<_> = known.into_iter().map(|target| (target, [0; 3], None)).collect();
        for (target, pause) in self.pauses().await? {
            known.push((target, [0; 3], Some(pause)));
        }
        // <prefix>.cmd.<target>.<verb>, <prefix>.sched.<target>.<key>, <prefix>.due.<target>.<verb> and
        // <prefix>.dlq.<reason>.<target>.<id>
        for (stream, filter) in subjects.queues() {
            let is_waiting = stream == subjects.waiting_stream();
            for (subject, count) in self.count(&stream, &filter).await? {
                let counts = [count, if is_waiting { count } else { 0 }, 0];
                known.extend(subject.split('.').nth(2).map(|target| (target.to_owned(), counts, None)));
            }
        }
        for (subject, count) in self.count(&subjects.dead_letter_stream(), &subjects.dead_letters()).await? {
            known.extend(subject.split('.').nth(3).map(|target| (target.to_owned(), [0, 0, count], None)));
        }
        for (target, [queued, waiting, dead_letters], paused) in known {
            let state = targets.entry(target.clone()).or_default();
            state.target = target;
            state.queued += queued;
            state.waiting += waiting;
            state.dead_letters += dead_letters;
            state.paused = state.paused.take().or(paused);
        }
        for (target, cards) in self.cards().await?.unwrap_or_default() {
            let state = targets.entry(target.clone()).or_default();
            state.target = target;
            state.workers = cards;
        }
        Ok(targets.into_values().collect())
    }

    /// The cards of all targets, by target; `None` where they may not be read or the bucket does not exist yet.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn cards(&self) -> Result<Option<BTreeMap<String, Vec<TargetCard>>>, Error> {
        let subjects = self.bus().subjects();
        let (stream, wanted) = (format!("KV_{}", subjects.target_bucket()), subjects.target_cards());
        let mut cards: BTreeMap<String, Vec<TargetCard>> = BTreeMap::new();
        let mut next = 1;
        loop {
            let message = match self.bus().next(&stream, &wanted, next).await {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(Some(cards)),
                Err(bus::Error::Denied { .. } | bus::Error::Drift { .. }) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            next = message.sequence + 1;
            if message.headers.get("KV-Operation").is_none()
                && let Some(target) = message.subject.split('.').nth(2)
                && let Ok(card) = serde_json::from_slice(&message.payload)
            {
                cards.entry(target.to_owned()).or_default().push(card);
            }
        }
    }

    /// The pauses of all targets, by target.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn pauses(&self) -> Result<BTreeMap<String, Pause>, Error> {
        let subjects = self.bus().subjects();
        let (stream, wanted) = (format!("KV_{}", subjects.control_bucket()), subjects.pauses());
        let mut pauses = BTreeMap::new();
        let mut next = 1;
        while let Some(message) = self.bus().next(&stream, &wanted, next).await? {
            next = message.sequence + 1;
            if message.headers.get("KV-Operation").is_none() {
                let target = message.subject.rsplit('.').next().unwrap_or_default().to_owned();
                // A client that writes the key itself may leave the fields out.
                pauses.insert(target, serde_json::from_slice(&message.payload).unwrap_or_default());
            }
        }
        Ok(pauses)
    }

    /// Number of messages of each subject that matches.
    pub(super) async fn count(&self, stream: &str, filter: &str) -> Result<Vec<(String, u64)>, Error> {
        let fail = |source: Box<dyn std::error::Error + Send + Sync>| bus::Error::Request {
            operation: "count",
            subject: filter.to_owned(),
            source,
        };
        let handle = self.bus().context().get_stream_no_info(stream).await.map_err(|error| fail(error.into()))?;
        let counted = handle.info_with_subjects(filter).await.map_err(|error| fail(error.into()))?;
        let counted: Vec<_> = counted.try_collect().await.map_err(|error| fail(error.into()))?;
        Ok(counted.into_iter().map(|(subject, count)| (subject, u64::try_from(count).unwrap_or(u64::MAX))).collect())
    }
}
