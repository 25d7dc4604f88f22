//! How work in the lower layers tells what it is doing. The worker turns steps into `progress` events; the lower
//! layers know only this trait.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One step of a command, for observers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The phase, a short stable word: `plan`, `apply`, `prune`, `wait`, `delete`.
    pub phase: String,
    /// What happened or is waited for, with the reason, for a person.
    pub message: String,
    /// Units of the phase that are done.
    pub done: u64,
    /// Units of the phase in all; 0 when not known.
    pub total: u64,
}

/// Takes steps. Reporting never blocks and never fails; a full channel drops the oldest, as only the newest
/// state matters to a watcher.
pub trait Progress: Send + Sync {
    /// Tells one step.
    fn report(&self, step: Step);
}

/// Discards steps, for callers without observers.
impl Progress for () {
    fn report(&self, _: Step) {}
}
