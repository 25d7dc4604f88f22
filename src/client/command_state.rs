//! The state of a command, derived from its events and its result.

use serde::{Serialize, Serializer};

use super::Observed;
use crate::event::{EventKind, Outcome};

/// State of a command. Its JSON form is [`CommandState::as_str`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommandState {
    /// It waits for a worker, a paused target, or an installation on which another command runs.
    Queued,
    /// An attempt runs.
    Running,
    /// An attempt failed and another one follows.
    Retrying,
    /// It has ended, with this outcome.
    Ended(Outcome),
}

impl CommandState {
    /// All states, in the order of a command's life.
    pub const ALL: &'static [Self] = &[
        Self::Queued,
        Self::Running,
        Self::Retrying,
        Self::Ended(Outcome::Succeeded),
        Self::Ended(Outcome::Failed),
        Self::Ended(Outcome::Rejected),
        Self::Ended(Outcome::Cancelled),
        Self::Ended(Outcome::Expired),
        Self::Ended(Outcome::Superseded),
    ];

    /// Such as `running` or `failed`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Ended(outcome) => outcome.as_str(),
        }
    }

    /// Whether no attempt follows.
    #[must_use]
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Ended(_))
    }

    /// The state after an event or a result; `None` if it does not change the state.
    #[must_use]
    pub const fn after(observed: &Observed) -> Option<Self> {
        match observed {
            Observed::Result(result) => Some(Self::Ended(result.outcome)),
            Observed::Event(EventKind::Started(_)) => Some(Self::Running),
            Observed::Event(EventKind::Retrying(_)) => Some(Self::Retrying),
            Observed::Event(_) | Observed::Unknown => None,
        }
    }
}

impl Serialize for CommandState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
