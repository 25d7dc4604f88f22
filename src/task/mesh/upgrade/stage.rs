//! The words for how an upgrade goes and how far.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the new version takes the old one's place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// The same revision: one control plane, replaced by a rollout.
    #[default]
    InPlace,
    /// A revision beside the old one; workloads move from one to the other.
    Canary,
}

/// Stages in their order; each does nothing where its work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// CRDs and the new control plane; nothing uses it yet.
    ControlPlane,
    /// Tags and namespaces point to the new revision: new pods get its proxy.
    Move,
    /// Gateways and workloads with an old proxy are restarted, in batches.
    Restart,
    /// Every proxy is a new one.
    Verify,
    /// The default validator, CNI and ztunnel follow; the old revision is removed if no workload uses it.
    Remove,
}
