//! Parameters that the writing verbs share.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::task::DURATION;

/// Parameters of the verbs that install and upgrade, flattened into their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommonParams {
    /// How long each part may take to become ready, such as `5m`; `0s` does not wait.
    #[serde(with = "humantime_serde", default = "five_minutes")]
    #[schemars(with = "String", length(max = 32), regex(pattern = DURATION))]
    pub wait: Duration,
    /// Report what would change, write nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Take over objects that another tool has installed.
    #[serde(default)]
    pub adopt: bool,
    /// Continue despite findings of severity `error`, such as versions that were not tested together.
    #[serde(default)]
    pub force: bool,
}

pub(super) const fn five_minutes() -> Duration {
    Duration::from_mins(5)
}

impl Default for CommonParams {
    fn default() -> Self {
        Self { wait: five_minutes(), dry_run: false, adopt: false, force: false }
    }
}
