//! Builds events: those of workers (progress and results) and those of producers (commands). Ids are deterministic, so that a
//! repeated publish after a crash is the same event.

use cloudevents::{Event, EventBuilder, EventBuilderV10};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::attempts::EarlierAttempt;
use super::waits::Waited;
use super::{CommandKey, Error, Origin, TYPE_PREFIX, Target};
use crate::conformance::model::{CaseEvent, SpecEvent, SummaryEvent};
use crate::error::Problem;
use crate::progress::Step;
use crate::task_event::{Changed, Discovered, Found, Lost, Resolved};

/// Content type of structured mode, the only mode that is written.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// `source` of events and results: the same for all workers, so that a repeated publish by another worker is the same event.
pub const SOURCE: &str = "urn:sailhand:worker";

/// Extension of a result: the digest of the command's parameters ([`Origin::digest`]).
pub const COMMAND_DIGEST: &str = "commanddigest";

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The command was executed; `changed` says whether it wrote.
    Succeeded,
    /// The command failed; see `error`, and the report for what was done before.
    Failed,
    /// The command is not valid and was not executed.
    Rejected,
    /// A client cancelled the command.
    Cancelled,
    /// The command expired while it was queued or running.
    Expired,
    /// A command with a higher generation was executed before.
    Superseded,
}

impl Outcome {
    /// The value in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Superseded => "superseded",
        }
    }
}

/// `data` of a result. Each command has exactly one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResultData {
    /// How it ended.
    pub outcome: Outcome,
    /// Whether an attempt wrote to the cluster. True when a worker crashed, or got no answer, while it wrote.
    pub changed: bool,
    /// Report of the verb. A failed command has one if it started to change objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Value>,
    /// The error; absent after a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
    /// Attempts started; 0 for a command that was not executed.
    pub attempts: u32,
    /// The attempts that failed before the last one, oldest first, at most 16. An attempt whose worker crashed is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier_attempts: Vec<EarlierAttempt>,
    /// Fence of the lease of the last attempt; 0 without a lease.
    pub fence: u64,
    /// The worker that published the result.
    pub worker: String,
    /// When it ended, RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub ended: String,
}

/// `data` of `started`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Started {
    /// The verb.
    pub verb: String,
    /// 1 for the first.
    pub attempt: u32,
    /// The worker.
    pub worker: String,
    /// Deadline of the command, RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub deadline: String,
    /// What the command waited for before this attempt, one entry for each reason; absent when it did not wait. Without the
    /// delay after a failed attempt, which `retrying` has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waited: Vec<Waited>,
}

/// `data` of `retrying`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retrying {
    /// The attempt that failed.
    pub attempt: u32,
    /// Milliseconds until the next attempt.
    pub delay_ms: u64,
    /// Its error.
    pub problem: Problem,
}

/// `data` of `deadlettered`, the event that is published for each dead letter, also for a message that is not a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLettered {
    /// `rejected`, `exhausted`, `quarantined`, `max-deliveries` or `terminated`.
    pub reason: String,
    /// The error, with its remedy.
    pub problem: Problem,
    /// Subject of the message.
    pub subject: String,
    /// Deliveries of the message.
    pub deliveries: u64,
    /// The worker that published the dead letter.
    pub worker: String,
}

/// The word in the type and the subject of the event of a dead letter.
pub const DEAD_LETTERED: &str = "deadlettered";

/// A kind of progress event and its data.
#[derive(Debug, Clone, PartialEq)]
pub enum EventKind {
    /// An attempt starts.
    Started(Started),
    /// A step of the task.
    Progress(Step),
    /// An attempt failed, and another one follows.
    Retrying(Retrying),
    /// A dead letter was published; no attempt follows.
    DeadLettered(DeadLettered),
    /// New findings of a watching command.
    Found(Found),
    /// Findings of a watching command that were resolved.
    Resolved(Resolved),
    /// A case of a conformance run has ended.
    ConformanceCase(Box<CaseEvent>),
    /// Verdict of a conformance run on one specification.
    ConformanceSpec(Box<SpecEvent>),
    /// Summary of a conformance run.
    ConformanceSummary(Box<SummaryEvent>),
    /// New servers of a watch of connections.
    Discovered(Discovered),
    /// Servers of such a watch that have changed.
    Changed(Changed),
    /// Servers of such a watch that no longer exist.
    Lost(Lost),
}

impl EventKind {
    /// Names of all kinds, for schemas.
    pub const NAMES: [&'static str; 12] = [
        "started",
        "progress",
        "retrying",
        DEAD_LETTERED,
        "found",
        "resolved",
        "conformance_case",
        "conformance_spec",
        "conformance_summary",
        "discovered",
        "changed",
        "lost",
    ];

    /// The word in the type and the subject.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Started(_) => Self::NAMES[0],
            Self::Progress(_) => Self::NAMES[1],
            Self::Retrying(_) => Self::NAMES[2],
            Self::DeadLettered(_) => Self::NAMES[3],
            Self::Found(_) => Self::NAMES[4],
            Self::Resolved(_) => Self::NAMES[5],
            Self::ConformanceCase(_) => Self::NAMES[6],
            Self::ConformanceSpec(_) => Self::NAMES[7],
            Self::ConformanceSummary(_) => Self::NAMES[8],
            Self::Discovered(_) => Self::NAMES[9],
            Self::Changed(_) => Self::NAMES[10],
            Self::Lost(_) => Self::NAMES[11],
        }
    }
}

/// An event of an attempt. `place` is the run of the attempt (requeued attempts count here) and the number of the event in
/// that run. Both are part of the id, so that a repeated publish, and no other event, has the same id.
///
/// # Errors
/// When the SDK rejects an attribute, which does not happen with a checked [`Origin`].
pub fn progress_event(
    origin: &Origin,
    attempt: u32,
    place: (u32, u32),
    worker: &str,
    time: OffsetDateTime,
    kind: &EventKind,
) -> Result<Event, Error> {
    let data = match kind {
        EventKind::Started(data) => json(data)?,
        EventKind::Progress(data) => json(data)?,
        EventKind::Retrying(data) => json(data)?,
        EventKind::DeadLettered(data) => json(data)?,
        EventKind::Found(data) => json(data)?,
        EventKind::Resolved(data) => json(data)?,
        EventKind::ConformanceCase(data) => json(data)?,
        EventKind::ConformanceSpec(data) => json(data)?,
        EventKind::ConformanceSummary(data) => json(data)?,
        EventKind::Discovered(data) => json(data)?,
        EventKind::Changed(data) => json(data)?,
        EventKind::Lost(data) => json(data)?,
    };
    let builder = answer(origin, &format!("{}.{}.{}", origin.command(), place.0, place.1), time)
        .ty(format!("{TYPE_PREFIX}.event.{}.v1", kind.name()))
        .extension("attempt", i64::from(attempt))
        .extension("worker", worker.to_owned());
    build(builder, data)
}

/// The event of a dead letter. `id` is the same for each repeated publish. Without an origin the event only has the position
/// of the message.
///
/// # Errors
/// As [`progress_event`].
pub fn dead_letter_event(
    origin: Option<&Origin>,
    id: &str,
    time: OffsetDateTime,
    data: &DeadLettered,
) -> Result<Event, Error> {
    let builder = match origin {
        Some(origin) => answer(origin, id, time),
        None => EventBuilderV10::new().id(id).source(SOURCE).time(rfc3339(time)),
    };
    build(builder.ty(format!("{TYPE_PREFIX}.event.{DEAD_LETTERED}.v1")), json(data)?)
}

/// The result of a command. Its id contains the target, because the same event on two targets is two commands.
///
/// # Errors
/// As [`progress_event`].
pub fn result_event(origin: &Origin, time: OffsetDateTime, result: &ResultData) -> Result<Event, Error> {
    let mut builder = answer(origin, &format!("{}.result", origin.command()), time)
        .ty(format!("{TYPE_PREFIX}.result.{}.v1", origin.verb));
    if let Some(digest) = &origin.digest {
        builder = builder.extension(COMMAND_DIGEST, digest.clone());
    }
    build(builder, json(result)?)
}

fn answer(origin: &Origin, id: &str, time: OffsetDateTime) -> EventBuilderV10 {
    let mut builder = EventBuilderV10::new()
        .id(id)
        .source(SOURCE)
        .subject(origin.target.as_str())
        .time(rfc3339(time))
        .extension("correlationid", origin.correlation.clone())
        .extension("commandid", origin.id.clone())
        .extension("commandsource", origin.source.clone())
        .extension("commandkey", origin.key.to_string());
    if let Some(traceparent) = &origin.traceparent {
        builder = builder.extension("traceparent", traceparent.clone());
    }
    if let Some(tracestate) = &origin.tracestate {
        builder = builder.extension("tracestate", tracestate.clone());
    }
    builder
}

/// The fields of a command that a producer sets.
#[derive(Debug, Clone, Default)]
pub struct CommandDraft {
    /// Unique together with `source`.
    pub id: String,
    /// URI reference of the producer.
    pub source: String,
    /// The verb.
    pub verb: String,
    /// `data`.
    pub params: Value,
    /// The command does not start or continue after this time.
    pub expiry: Option<OffsetDateTime>,
    /// See [`super::Command::generation`].
    pub generation: Option<u64>,
    /// Groups commands of the sender.
    pub correlation: Option<String>,
    /// Reference to the parameters, instead of `params`.
    pub dataref: Option<String>,
    /// The command that this one repeats.
    pub replay_of: Option<String>,
    /// W3C trace context.
    pub traceparent: Option<String>,
}

impl CommandDraft {
    /// The command's key.
    #[must_use]
    pub fn key(&self) -> CommandKey {
        CommandKey::new(&self.source, &self.id)
    }

    /// The event for `target`.
    ///
    /// # Errors
    /// When an attribute does not conform to CloudEvents.
    pub fn event(&self, target: &Target, time: OffsetDateTime) -> Result<Event, Error> {
        let mut builder = EventBuilderV10::new()
            .id(self.id.clone())
            .source(self.source.clone())
            .ty(format!("{TYPE_PREFIX}.command.{}.v1", self.verb))
            .subject(target.as_str())
            .time(rfc3339(time));
        let texts = [
            ("expirytime", self.expiry.map(rfc3339)),
            ("generation", self.generation.map(|generation| generation.to_string())),
            ("correlationid", self.correlation.clone()),
            ("dataref", self.dataref.clone()),
            ("replayof", self.replay_of.clone()),
            ("traceparent", self.traceparent.clone()),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                builder = builder.extension(name, value);
            }
        }
        if self.dataref.is_some() {
            builder.build().map_err(|error| Error::NotAnEvent { reason: error.to_string() })
        } else {
            build(builder, self.params.clone())
        }
    }
}

fn build(builder: EventBuilderV10, data: Value) -> Result<Event, Error> {
    builder.data("application/json", data).build().map_err(|error| Error::NotAnEvent { reason: error.to_string() })
}

fn json<T: Serialize>(data: &T) -> Result<Value, Error> {
    serde_json::to_value(data).map_err(|error| Error::NotAnEvent { reason: error.to_string() })
}

/// RFC 3339. A year above 9999 becomes the epoch.
#[must_use]
pub fn rfc3339(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_else(|_| "1970-01-01T00:00:00Z".to_owned())
}
