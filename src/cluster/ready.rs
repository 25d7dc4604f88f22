//! stub: readiness by the kstatus rules (kubernetes-sigs/cli-utils `pkg/kstatus/status`). Pure.

use serde_json::Value;

/// Whether an object is as its spec asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Reconciled and ready.
    Current,
    /// On the way; what it waits for.
    InProgress(String),
    /// It will not become ready without help; why.
    Failed(String),
    /// It is being deleted.
    Terminating,
}

/// Judges one object of any kind by its own fields.
#[must_use]
pub fn readiness(_object: &Value) -> Readiness {
    Readiness::Current
}
