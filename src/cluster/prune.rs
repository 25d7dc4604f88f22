//! Decides which objects of an inventory are pruned because they are no longer desired.

use std::collections::{BTreeSet, HashSet};

use super::locate::{self, DiscoveryLag, Located};
use super::removal::DeleteCandidate;
use super::{Cluster, Error, ObjectRef, ObjectReport, live, order, ownership};

/// The plan for entries that are no longer desired.
#[derive(Default)]
pub(super) struct Prune {
    /// To be deleted.
    pub doomed: Vec<DeleteCandidate>,
    /// A line for each that is left alone.
    pub left_alone: Vec<ObjectReport>,
    /// Entries that the inventory keeps.
    pub staying: BTreeSet<ObjectRef>,
}

/// Compares the inventory with the set. Objects that are deleted or belong to another owner leave the inventory. What
/// cannot be read, because its kind is not served at the moment, stays in it.
pub(super) async fn plan(
    cluster: &Cluster,
    entries: &BTreeSet<ObjectRef>,
    desired: &[ObjectRef],
    id: &str,
) -> Result<Prune, Error> {
    let mut lag = DiscoveryLag::begin();
    loop {
        match compare(cluster, entries, desired, id).await {
            Err(error) if lag.explains(&error).await => {}
            answer => return answer,
        }
    }
}

async fn compare(
    cluster: &Cluster,
    entries: &BTreeSet<ObjectRef>,
    desired: &[ObjectRef],
    id: &str,
) -> Result<Prune, Error> {
    let identities: HashSet<_> = desired.iter().map(ObjectRef::identity).collect();
    let mut prune = Prune::default();
    let mut candidates = Vec::new();
    for entry in entries.iter().filter(|entry| !identities.contains(&entry.identity())) {
        match locate::entry(cluster, entry).await? {
            Located::Served(kind) => candidates.push((kind, entry.clone())),
            Located::Gone => {}
            Located::Unserved(reason) => prune.keep(entry.clone(), format!("not pruned: {reason}")),
        }
    }
    let reads = candidates.iter().enumerate().map(|(number, (kind, entry))| (number, kind.clone(), entry.clone()));
    for (number, live) in live::read(cluster, reads.collect::<Vec<_>>()).await? {
        let (kind, entry) = candidates[number].clone();
        let uid = live["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        if !ownership::ours(&live, id) {
            let reason = "it no longer carries the installation's label";
            prune.left_alone.push(ObjectReport::skipped(entry, reason));
        } else if is_wanted_in_another_group(cluster, &entry, &uid, desired).await? {
            // The set has it under the other group's name: only the entry goes.
        } else if order::never_recreated(entry.group(), &entry.kind) {
            let reason = format!("a {} is never pruned", entry.kind);
            prune.keep(entry, reason);
        } else if let Some(reason) = ownership::keep(&live) {
            prune.keep(entry, reason);
        } else {
            prune.doomed.push(DeleteCandidate::new(entry, kind, uid));
        }
    }
    prune.left_alone.sort_by(|a, b| a.object.cmp(&b.object));
    Ok(prune)
}

impl Prune {
    fn keep(&mut self, entry: ObjectRef, reason: String) {
        self.staying.insert(entry.clone());
        self.left_alone.push(ObjectReport::skipped(entry, reason));
    }
}

/// Some kinds are served in two API groups, or move from one to another (Ingress from extensions to
/// networking.k8s.io): the same UID is the same object.
async fn is_wanted_in_another_group(
    cluster: &Cluster,
    entry: &ObjectRef,
    uid: &str,
    desired: &[ObjectRef],
) -> Result<bool, Error> {
    let alike = |one: &&ObjectRef| one.kind == entry.kind && one.namespace == entry.namespace && one.name == entry.name;
    for one in desired.iter().filter(alike) {
        if cluster.get(one).await?.is_some_and(|live| live["metadata"]["uid"] == uid) {
            return Ok(true);
        }
    }
    Ok(false)
}
