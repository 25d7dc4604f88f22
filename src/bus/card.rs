//! The card of a target: what a worker says of a cluster that it has. Workers publish cards, clients list them.

use serde::{Deserialize, Serialize};

/// What one worker says of one of its targets. It is published again and again, and expires with the worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TargetCard {
    /// The worker's name.
    pub worker: String,
    /// The worker's version.
    pub version: String,
    /// Commands that the worker executes at once.
    pub slots: u32,
    /// When the card was published, RFC 3339.
    pub time: String,
    /// The context of the kubeconfig; `in-cluster` for a pod's own credentials, empty when they cannot be used.
    pub context: String,
    /// URL of the API server, without credentials.
    pub server: String,
    /// The user of the kubeconfig, by name.
    pub user: String,
    /// Why the kubeconfig cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}
