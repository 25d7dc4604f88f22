//! Findings of checks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much a finding matters. The same three words as in the analysis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For information; nothing to do.
    Info,
    /// The operation may have an unwanted effect.
    Warning,
    /// The command is refused, unless the finding is `forceable` and the command has `force: true`.
    Error,
}

/// One finding of a check on a cluster or a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// Name of the check, a stable word such as `kubernetes-version`.
    pub check: String,
    /// The message.
    pub message: String,
    /// For an error: whether `force: true` lets the command run in spite of it. Otherwise false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forceable: bool,
}

impl Finding {
    /// A finding. `force` overrides it if it is an error.
    #[must_use]
    pub fn new(severity: Severity, check: &str, message: impl Into<String>) -> Self {
        let forceable = severity == Severity::Error;
        Self { severity, check: check.to_owned(), message: message.into(), forceable }
    }

    /// An error that `force` does not override, because the operation cannot succeed.
    #[must_use]
    pub fn unforceable(check: &str, message: impl Into<String>) -> Self {
        Self { forceable: false, ..Self::new(Severity::Error, check, message) }
    }

    /// Whether the finding refuses a command that has this `force`.
    #[must_use]
    pub fn refuses(&self, force: bool) -> bool {
        self.severity == Severity::Error && !(force && self.forceable)
    }

    /// Sort key: of two findings the one with the greater rank is the worse.
    #[must_use]
    pub fn rank(&self) -> (Severity, bool) {
        (self.severity, !self.forceable)
    }
}
