//! Names the installation that owns an object, which carries only the id of the installation's apply set.

use std::collections::HashMap;

use serde_json::Value;
use tokio::sync::OnceCell;

use super::desired::PART_OF;
use super::{Cluster, Error, inventory};

/// Names of installations by the ids of their apply sets. The inventories are listed once, when the first name is needed.
pub(super) struct Installations<'a> {
    cluster: &'a Cluster,
    by_set: OnceCell<HashMap<String, String>>,
}

impl<'a> Installations<'a> {
    pub fn of(cluster: &'a Cluster) -> Self {
        Self { cluster, by_set: OnceCell::new() }
    }

    /// The error for an object of another installation, with that installation's name in place of the id of its apply set.
    /// Without the right to list inventories the id stays.
    pub async fn name_owner(&self, live: &Value, error: Error) -> Error {
        let (Error::Owned { object, .. }, Some(set)) = (&error, live["metadata"]["labels"][PART_OF].as_str()) else {
            return error;
        };
        match self.by_set.get_or_init(|| self.read()).await.get(set) {
            Some(name) => Error::Owned { object: object.clone(), owner: format!("installation {name}") },
            None => error,
        }
    }

    async fn read(&self) -> HashMap<String, String> {
        let all = inventory::stored(self.cluster).await.unwrap_or_default();
        all.into_iter().map(|one| (inventory::apply_set(self.cluster, &one.installation), one.installation)).collect()
    }
}
