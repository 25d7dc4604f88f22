//! Reports the steps of a command from the lower layers, which use only this trait. The worker publishes them as `progress`
//! events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A step of a command, for observers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The phase, a short stable word: `plan`, `apply`, `prune`, `wait`, `delete`.
    pub phase: String,
    /// What happened or what the command waits for, with the reason; for a person.
    pub message: String,
    /// Completed units of the phase.
    pub done: u64,
    /// All units of the phase; 0 when their number is unknown.
    pub total: u64,
}

/// Receives steps. Reporting never blocks and never fails. A receiver may drop all steps but the newest.
pub trait Progress: Send + Sync {
    /// Reports a step.
    fn report(&self, step: Step);
}

/// Discards steps, for callers without observers.
impl Progress for () {
    fn report(&self, _: Step) {}
}
