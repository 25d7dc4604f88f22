//! `cancel`: requests the cancellation of another command of the same target. Who may send it is a matter of its subject, so it
//! reaches no command of another target.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cancelled, Error, Failure, Limits, Outcome, SlotClass, Task, TaskContext};
use crate::event::CommandKey;

/// The task `cancel`.
pub struct Cancel;

/// Parameters of `cancel`: `command`, or `id` and `source`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The command's key, 32 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9a-f]{32}$"))]
    pub command: Option<String>,
    /// The command's CloudEvents id; with `source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub id: Option<String>,
    /// The command's CloudEvents source; with `id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub source: Option<String>,
}

/// Report of `cancel`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The command's key.
    pub command: String,
    /// Outcome of the request.
    pub cancelled: Cancelled,
}

impl Params {
    fn key(&self) -> Result<CommandKey, Error> {
        let wrong = |reason: &str| Error::Parameter { field: "command", reason: reason.to_owned() };
        match (&self.command, &self.id, &self.source) {
            (Some(key), None, None) => key.parse().map_err(|()| wrong("must be 32 hex digits")),
            (None, Some(id), Some(source)) => Ok(CommandKey::new(source, id)),
            _ => Err(wrong("give either command, or id and source")),
        }
    }
}

impl Task for Cancel {
    const VERB: &'static str = "cancel";
    const SUMMARY: &'static str = "Cancels another queued or running command of the target.";
    type Params = Params;
    type Report = Report;
    const SLOT_CLASS: SlotClass = SlotClass::Urgent;

    fn limits(&self) -> Limits {
        Limits { deadline: std::time::Duration::from_mins(1), ..Limits::default() }
    }

    fn installation(&self, _: &Params) -> Option<String> {
        None
    }

    fn example(&self) -> Params {
        Params { command: Some("0123456789abcdef0123456789abcdef".to_owned()), ..Params::default() }
    }

    async fn run(&self, cx: &TaskContext, params: Params) -> Result<Outcome<Report>, Failure<Report>> {
        let key = params.key()?;
        let cancelled = cx.commands.cancel(&key, "command").await?;
        let report = Report { command: key.to_string(), cancelled };
        Ok(match cancelled {
            Cancelled::Requested => Outcome::Changed(report),
            Cancelled::Already | Cancelled::Ended => Outcome::Unchanged(report),
        })
    }
}
