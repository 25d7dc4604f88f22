//! The Kubernetes layer: one isolated client for each target, server-side apply with inventory and fence, readiness. Uses
//! neither the bus nor CloudEvents.

mod api_error;
pub mod apply;
mod autoscaler;
mod clearing;
pub mod configuration;
mod connection;
pub mod delete;
mod desired;
mod diff;
mod discovery;
mod error;
mod established;
mod family;
pub mod following;
mod guarded;
mod identity;
mod ignored_fields;
mod installations;
mod inventory;
mod live;
mod locate;
mod managed_fields;
pub mod manifest;
mod options;
mod order;
mod outcome;
mod ownership;
mod plan;
mod prune;
pub mod ready;
mod removal;
mod report;
pub mod rights;
mod server_written;
mod takeover;
pub mod wait;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

pub use api_error::{ApiError, FieldConflict};
pub use connection::{Cluster, FIELD_MANAGER};
pub use discovery::Kind;
pub use error::Error;
pub use family::Family;
pub use identity::Identity;
pub use inventory::{Stored, stored};
pub use options::ApplyOptions;
pub use outcome::ObjectsFailure;
pub use report::{Action, FieldChange, ObjectRef, ObjectReport, ObjectsReport};

use crate::config;

/// All clusters of the configuration, connected on first use.
pub struct Clusters {
    targets: BTreeMap<String, Entry>,
}

/// A target, and its cluster if a command has used it.
struct Entry {
    settings: config::Target,
    used: Mutex<Option<Used>>,
}

struct Used {
    cluster: Arc<Cluster>,
    at: Instant,
}

impl Clusters {
    /// Connects to nothing yet.
    #[must_use]
    pub fn new(targets: BTreeMap<String, config::Target>) -> Self {
        let entry = |settings| Entry { settings, used: Mutex::default() };
        Self { targets: targets.into_iter().map(|(id, settings)| (id, entry(settings))).collect() }
    }

    /// The targets' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.targets.keys().map(String::as_str)
    }

    /// Whether the configuration has the target.
    #[must_use]
    pub fn knows(&self, target: &str) -> bool {
        self.targets.contains_key(target)
    }

    /// Whether the configuration allows commands with this verb on the target.
    #[must_use]
    pub fn allows_verb(&self, target: &str, verb: &str) -> bool {
        self.targets.get(target).is_some_and(|entry| entry.settings.allows_verb(verb))
    }

    /// The cluster of a target.
    ///
    /// # Errors
    /// An unknown target, or a kubeconfig that cannot be used.
    pub async fn get(&self, target: &str) -> Result<Arc<Cluster>, Error> {
        let Some(Entry { settings, used }) = self.targets.get(target) else {
            return Err(Error::UnknownTarget { target: target.to_owned() });
        };
        let mut used = used.lock().await;
        let cluster = match used.take() {
            Some(Used { cluster, .. }) => cluster,
            None => Arc::new(Cluster::new(target, settings.clone()).await?),
        };
        *used = Some(Used { cluster: Arc::clone(&cluster), at: Instant::now() });
        Ok(cluster)
    }

    /// Drops the clients of clusters that no command uses and none has used for this long: each holds a connection and what
    /// discovery has found, some 260 KiB.
    pub fn release_unused(&self, unused_for: Duration) {
        for entry in self.targets.values() {
            let Ok(mut used) = entry.used.try_lock() else { continue };
            let is_unused = |used: &Used| Arc::strong_count(&used.cluster) == 1 && used.at.elapsed() >= unused_for;
            if used.as_ref().is_some_and(is_unused) {
                *used = None;
            }
        }
    }
}
