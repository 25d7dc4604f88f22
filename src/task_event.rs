//! What a task tells while it goes on, and what must not get lost: what it has found, and what is no more. The worker
//! turns it into events. Beside [`crate::progress`], which may drop what is not the newest.

use std::collections::BTreeMap;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::conformance::model::{CaseEvent, SpecEvent, SummaryEvent};
use crate::observe::changes::Change;
use crate::observe::instance::Instance;

/// One finding of an analysis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FindingReport {
    /// Such as `IST0101`.
    pub code: String,
    /// `error`, `warning` or `info`.
    #[schemars(extend("enum" = ["error", "warning", "info"]))]
    pub severity: String,
    /// `Kind namespace/name`.
    pub resource: String,
    /// The field, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// One sentence.
    pub message: String,
    /// The line of the manifest, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The same for the same finding in another report.
    pub fingerprint: String,
}

impl FindingReport {
    /// About how long it is as JSON: its texts, with names, quotes and commas of the fields.
    #[must_use]
    pub fn length(&self) -> usize {
        self.resource.len() + self.field.len() + self.message.len() + 160
    }
}

/// One code of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CodeReport {
    /// How many findings have it.
    pub count: usize,
    /// What is the matter.
    pub title: String,
    /// What to do.
    pub remedy: String,
    /// A page about it.
    pub url: String,
}

/// `data` of `found`. A consumer that stores findings by fingerprint, replaces them with those of each `found` and removes
/// those of each `resolved` has the findings of a complete analysis.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// Whether these are all findings at the start of the watch. Each attempt starts again: consumers discard earlier
    /// findings of this command.
    pub first: bool,
    /// Whether the next event goes on with the same: there are too many findings for one.
    pub more: bool,
    /// New ones, or other than before in something but their fingerprint.
    pub findings: Vec<FindingReport>,
    /// What their codes say, and how often each is in this event.
    #[serde(default)]
    pub codes: BTreeMap<String, CodeReport>,
    /// What could not be read, with the reason: what a rule would have found there is not known.
    #[serde(default)]
    pub unread: Vec<String>,
}

/// `data` of `resolved`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resolved {
    /// As they were found.
    pub findings: Vec<FindingReport>,
}

/// `data` of `discovered`. A consumer that keeps the servers of `discovered` and `changed` by fingerprint, and removes those
/// of `lost`, has the current servers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Discovered {
    /// Whether a watch begins, which it does again with each attempt: servers of earlier events are void. If there are more
    /// than 100 servers, events with `false` follow.
    pub first: bool,
    /// New servers.
    pub instances: Vec<Instance>,
    /// Kinds that could not be listed, with the reason; in the first event only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
}

/// `data` of `changed`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Changed {
    /// Servers as they are now, with the names of the fields that differ.
    pub changes: Vec<Change>,
}

/// `data` of `lost`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lost {
    /// Servers that are gone, as they were.
    pub instances: Vec<Instance>,
}

/// Something to tell.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskEvent {
    /// Findings are there.
    Found(Found),
    /// Findings are no more.
    Resolved(Resolved),
    /// A case of a conformance run has ended.
    ConformanceCase(Box<CaseEvent>),
    /// Verdict of a conformance run on one specification.
    ConformanceSpec(Box<SpecEvent>),
    /// Summary of a conformance run.
    ConformanceSummary(Box<SummaryEvent>),
    /// Metrics stores and Grafanas are there.
    Discovered(Discovered),
    /// Metrics stores and Grafanas differ from before.
    Changed(Changed),
    /// Metrics stores and Grafanas are gone.
    Lost(Lost),
}

/// The bus has not confirmed the notice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct PublishError {
    /// Why.
    pub reason: String,
}

/// Takes notices, one after the other.
#[async_trait]
pub trait TaskEvents: Send + Sync {
    /// Publishes one, and returns after the bus has stored it.
    ///
    /// # Errors
    /// When it may be lost.
    async fn publish(&self, event: TaskEvent) -> Result<(), PublishError>;
}

/// Discards notices, for callers without a bus.
#[async_trait]
impl TaskEvents for () {
    async fn publish(&self, _: TaskEvent) -> Result<(), PublishError> {
        Ok(())
    }
}
