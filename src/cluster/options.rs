//! Options of apply.

use std::time::Duration;

use serde_json::Value;

use super::Family;

/// How to apply.
#[derive(Debug, Clone, Default)]
pub struct ApplyOptions {
    /// The family of verbs that applies; the inventory carries it.
    pub family: Family,
    /// For namespaced objects that name none; `default` when absent. An object's own namespace is respected.
    pub namespace: Option<String>,
    /// Create namespaces that objects are in and that do not exist.
    pub create_namespace: bool,
    /// Report the diff, write nothing.
    pub dry_run: bool,
    /// Delete what the installation's inventory has and the set has not.
    pub prune: bool,
    /// Take fields over from other field managers, and all fields of kubectl: those that the set does not have go.
    pub force: bool,
    /// Take over objects that another tool owns, with the fields that it has applied.
    pub adopt: bool,
    /// Delete and create objects whose immutable fields differ; never PVC, Namespace, CRD.
    pub recreate: bool,
    /// Wait until all objects are ready, at most so long.
    pub wait: Option<Duration>,
    /// Refuse as superseded when the inventory holds a higher one.
    pub generation: Option<u64>,
    /// Source of the set, stored unchanged in the inventory, so that a later command can render it again.
    pub origin: Option<Value>,
}
