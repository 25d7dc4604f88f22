//! Target cards: workers publish one for each of their targets, clients list them.

use serde::{Deserialize, Serialize};

/// The description of a target by one of its workers. The worker publishes it at an interval, so it expires after the worker
/// has ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TargetCard {
    /// Name of the worker.
    pub worker: String,
    /// Version of the worker.
    pub version: String,
    /// Commands that the worker executes at the same time.
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
