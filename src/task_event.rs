//! Events of a running task that must not be lost, such as findings. The worker publishes them. [`crate::progress`] is for
//! steps, of which only the newest one matters.

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
    /// Approximate length as JSON, bytes: the texts, and about 160 bytes for field names and punctuation.
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
    /// Title of the code.
    pub title: String,
    /// Remedy.
    pub remedy: String,
    /// URL of its page.
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
    /// Whether the next event continues this one, because one event cannot contain all findings.
    pub more: bool,
    /// New findings, and those that have changed except for their fingerprint.
    pub findings: Vec<FindingReport>,
    /// The codes of these findings, and how often each occurs in this event.
    #[serde(default)]
    pub codes: BTreeMap<String, CodeReport>,
    /// Kinds that could not be read, with the reason. Findings about them may be missing.
    #[serde(default)]
    pub unread: Vec<String>,
}

/// `data` of `resolved`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resolved {
    /// The findings as they were published.
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
    /// Current servers, with the names of the changed fields.
    pub changes: Vec<Change>,
}

/// `data` of `lost`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lost {
    /// Servers that no longer exist.
    pub instances: Vec<Instance>,
}

/// An event of a task.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskEvent {
    /// New findings.
    Found(Found),
    /// Resolved findings.
    Resolved(Resolved),
    /// A case of a conformance run has ended.
    ConformanceCase(Box<CaseEvent>),
    /// Verdict of a conformance run on one specification.
    ConformanceSpec(Box<SpecEvent>),
    /// Summary of a conformance run.
    ConformanceSummary(Box<SummaryEvent>),
    /// New metrics stores and Grafanas.
    Discovered(Discovered),
    /// Changed metrics stores and Grafanas.
    Changed(Changed),
    /// Metrics stores and Grafanas that no longer exist.
    Lost(Lost),
}

/// The bus has not confirmed that it stored the event or attachment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct PublishError {
    /// The cause.
    pub reason: String,
}

/// Publishes the events of a task in order.
#[async_trait]
pub trait TaskEvents: Send + Sync {
    /// Publishes an event. Returns after the bus has stored it.
    ///
    /// # Errors
    /// When the event may be lost.
    async fn publish(&self, event: TaskEvent) -> Result<(), PublishError>;
}

/// Discards events, for callers without a bus.
#[async_trait]
impl TaskEvents for () {
    async fn publish(&self, _: TaskEvent) -> Result<(), PublishError> {
        Ok(())
    }
}
