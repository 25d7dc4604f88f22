//! What touches Kubernetes: one isolated client for each target, server-side apply with inventory and fence,
//! readiness. Knows no bus and no CloudEvents.

pub mod apply;
pub mod delete;
mod error;
pub mod manifest;
pub mod ready;
mod report;
pub mod wait;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use error::Error;
pub use report::{Action, FieldChange, ObjectRef, ObjectReport, ObjectsReport};

use crate::config;

/// All clusters of the configuration, connected on first use.
pub struct Clusters {
    targets: BTreeMap<String, config::Target>,
}

impl Clusters {
    /// Connects to nothing yet.
    #[must_use]
    pub fn new(targets: BTreeMap<String, config::Target>) -> Self {
        Self { targets }
    }

    /// Whether the configuration has the target.
    #[must_use]
    pub fn knows(&self, target: &str) -> bool {
        self.targets.contains_key(target)
    }

    /// The cluster of a target.
    ///
    /// # Errors
    /// An unknown target, or a kubeconfig that cannot be used.
    pub async fn get(&self, target: &str) -> Result<Arc<Cluster>, Error> {
        Err(Error::UnknownTarget { target: target.to_owned() })
    }
}

/// One cluster and its client.
pub struct Cluster {}
