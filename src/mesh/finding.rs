//! What a check has found, for a person to read and a machine to count.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// It may go wrong.
    Warning,
    /// The command is refused for it, unless `force` is set.
    Error,
    /// It cannot work: refused, forced or not.
    Fatal,
}

/// One thing found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What was looked at, a stable word such as `kubernetes-version`.
    pub check: String,
    /// What was found.
    pub message: String,
}

impl Finding {
    /// A finding.
    #[must_use]
    pub fn new(severity: Severity, check: &str, message: impl Into<String>) -> Self {
        Self { severity, check: check.to_owned(), message: message.into() }
    }
}
