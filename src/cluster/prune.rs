//! Which objects of an inventory go because they left the set, and which stay in spite of it.

use std::collections::{BTreeSet, HashSet};

use super::removal::Doomed;
use super::{Cluster, Error, ObjectRef, ObjectReport, live, order, ownership};

/// What happens to the entries that are no longer wanted.
#[derive(Default)]
pub(super) struct Prune {
    /// To be deleted.
    pub doomed: Vec<Doomed>,
    /// A line for each that is left alone.
    pub left_alone: Vec<ObjectReport>,
    /// Entries that the inventory keeps.
    pub staying: BTreeSet<ObjectRef>,
}

/// Compares the inventory with the set. What is gone already, or was given to another owner, leaves the inventory.
pub(super) async fn plan(
    cluster: &Cluster,
    entries: &BTreeSet<ObjectRef>,
    wanted: &[ObjectRef],
    id: &str,
) -> Result<Prune, Error> {
    let wanted: HashSet<_> = wanted.iter().map(ObjectRef::identity).collect();
    let mut prune = Prune::default();
    let mut candidates = Vec::new();
    for entry in entries.iter().filter(|entry| !wanted.contains(&entry.identity())) {
        if let Some(kind) = cluster.kind_any_version(&entry.api_version, &entry.kind).await? {
            candidates.push((kind, entry.clone()));
        }
    }
    let reads = candidates.iter().enumerate().map(|(number, (kind, entry))| (number, kind.clone(), entry.clone()));
    for (number, live) in live::read(cluster, reads.collect::<Vec<_>>()).await? {
        let (kind, entry) = candidates[number].clone();
        let stays = if !ownership::ours(&live, id) {
            prune.left_alone.push(ObjectReport::skipped(entry, "it no longer carries the installation's label"));
            continue;
        } else if order::precious(entry.group(), &entry.kind) {
            format!("a {} is never pruned", entry.kind)
        } else if ownership::keep(&live) {
            "its annotation helm.sh/resource-policy says keep".to_owned()
        } else {
            let uid = live["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
            prune.doomed.push(Doomed::new(entry, kind, uid));
            continue;
        };
        prune.staying.insert(entry.clone());
        prune.left_alone.push(ObjectReport::skipped(entry, stays));
    }
    prune.left_alone.sort_by(|a, b| a.object.cmp(&b.object));
    Ok(prune)
}
