//! Deletes an installation, or some of its objects, in reverse order. Knows no task and no bus.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use kube::core::DynamicObject;

use super::discovery::Kind;
use super::guarded::guarded;
use super::inventory::Inventory;
use super::outcome::ObjectsFailure;
use super::outcome::Tally;
use super::removal::{Doomed, Removal};
use super::{Action, Cluster, Error, ObjectRef, ObjectReport, ObjectsReport, live, ownership, wanted};
use crate::guard::Guard;
use crate::progress::Progress;

/// How to delete.
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    /// For namespaced objects that name none; `default` when absent.
    pub namespace: Option<String>,
    /// Report what would go, write nothing.
    pub dry_run: bool,
    /// Delete objects that another tool owns too.
    pub adopt: bool,
    /// Wait until the objects are gone, at most so long.
    pub wait: Option<Duration>,
    /// Refuse as superseded when the inventory holds a higher one.
    pub generation: Option<u64>,
}

/// Deletes `objects`, or everything in the installation's inventory when `None`, in reverse order. What is not there
/// is a success; so is an installation that does not exist.
///
/// # Errors
/// With the report of what was done, as soon as anything was begun.
pub async fn delete(
    cluster: &Cluster,
    installation: &str,
    objects: Option<Vec<DynamicObject>>,
    options: &DeleteOptions,
    guard: &Guard,
    progress: &dyn Progress,
) -> Result<ObjectsReport, ObjectsFailure> {
    let report = ObjectsReport { dry_run: options.dry_run, ..ObjectsReport::default() };
    let mut run = Run { cluster, options, guard, progress, tally: Tally::new(report) };
    let result = run.all(installation, objects).await;
    run.tally.finish(result)
}

/// One deletion under way.
struct Run<'a> {
    cluster: &'a Cluster,
    options: &'a DeleteOptions,
    guard: &'a Guard,
    progress: &'a dyn Progress,
    tally: Tally,
}

/// An object to delete; without a kind when the cluster does not know it, so that it cannot be there.
type Candidate = (Option<Kind>, ObjectRef);

impl Run<'_> {
    async fn all(&mut self, installation: &str, objects: Option<Vec<DynamicObject>>) -> Result<(), Error> {
        self.guard.check()?;
        let mut inventory = guarded(self.guard, Inventory::read(self.cluster, installation)).await?;
        if !self.options.dry_run {
            inventory.admit(self.guard.fence(), self.options.generation)?;
        }
        let named = objects.is_some();
        let candidates = guarded(self.guard, self.candidates(&inventory, objects)).await?;
        let all: Vec<_> = candidates.iter().map(|(_, object)| object.clone()).collect();
        let doomed = guarded(self.guard, self.judge(&inventory.id(), candidates, named)).await?;
        if self.options.dry_run {
            for one in doomed {
                self.tally.push(ObjectReport::new(one.object, Action::Deleted));
            }
            return self.tally.verdict();
        }
        let staying = self.remove(&mut inventory, doomed).await?;
        self.settle(&mut inventory, &all, &staying).await?;
        self.tally.verdict()
    }

    async fn candidates(
        &self,
        inventory: &Inventory,
        objects: Option<Vec<DynamicObject>>,
    ) -> Result<Vec<Candidate>, Error> {
        if let Some(objects) = objects {
            let set = wanted::resolve(self.cluster, objects, self.options.namespace.as_deref()).await?;
            return Ok(set.into_iter().map(|one| (one.kind.filter(|_| !one.pending), one.object)).collect());
        }
        let mut found = Vec::with_capacity(inventory.entries.len());
        for entry in &inventory.entries {
            let kind = self.cluster.kind_any_version(&entry.api_version, &entry.kind).await?;
            found.push((kind, entry.clone()));
        }
        Ok(found)
    }

    /// Sorts out what is not there or not to be deleted. An object `named` in the command only has to be nobody
    /// else's; one from the inventory has to carry the label still.
    async fn judge(&mut self, id: &str, candidates: Vec<Candidate>, named: bool) -> Result<Vec<Doomed>, Error> {
        let known = candidates.iter().enumerate();
        let reads: Vec<_> =
            known.filter_map(|(number, (kind, object))| Some((number, kind.clone()?, object.clone()))).collect();
        let mut live: HashMap<_, _> = live::read(self.cluster, reads).await?.into_iter().collect();
        let mut doomed = Vec::new();
        for (number, (kind, object)) in candidates.into_iter().enumerate() {
            let (Some(kind), Some(live)) = (kind, live.remove(&number)) else {
                self.tally.push(ObjectReport::new(object, Action::Absent));
                continue;
            };
            let owner = ownership::other_owner(&live, id).filter(|_| !self.options.adopt);
            if let (true, Some(owner)) = (named, owner) {
                let error = Error::Owned { object: object.to_string(), owner };
                self.tally.push_failed(object, &error);
            } else if !named && !ownership::ours(&live, id) {
                self.tally.push(ObjectReport::skipped(object, "it no longer carries the installation's label"));
            } else if !named && ownership::keep(&live) {
                self.tally.push(ObjectReport::skipped(object, "its annotation helm.sh/resource-policy says keep"));
            } else {
                let uid = live["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
                doomed.push(Doomed::new(object, kind, uid));
            }
        }
        Ok(doomed)
    }

    async fn remove(&mut self, inventory: &mut Inventory, doomed: Vec<Doomed>) -> Result<BTreeSet<ObjectRef>, Error> {
        if doomed.is_empty() {
            return Ok(BTreeSet::new());
        }
        let generation = self.options.generation;
        inventory.write(self.cluster, inventory.entries.clone(), self.guard, generation).await?;
        let removal = Removal {
            cluster: self.cluster,
            guard: self.guard,
            generation,
            progress: self.progress,
            phase: "delete",
            action: Action::Deleted,
            wait: self.options.wait,
        };
        removal.run(inventory, doomed, &mut self.tally).await
    }

    /// Stores what is left of the installation; when nothing is, the inventory goes too, last of all. Under a generation
    /// it stays, empty, or is made: an older command that comes later must find it.
    async fn settle(
        &self,
        inventory: &mut Inventory,
        all: &[ObjectRef],
        staying: &BTreeSet<ObjectRef>,
    ) -> Result<(), Error> {
        let gone: BTreeSet<_> =
            all.iter().filter(|object| !staying.contains(object)).map(ObjectRef::identity).collect();
        let entries: BTreeSet<_> =
            inventory.entries.iter().filter(|entry| !gone.contains(&entry.identity())).cloned().collect();
        let generation = self.options.generation;
        if entries.is_empty() && generation.is_none() {
            inventory.remove(self.cluster, self.guard).await
        } else if entries != inventory.entries || inventory.older_than(generation) {
            inventory.write(self.cluster, entries, self.guard, generation).await
        } else {
            Ok(())
        }
    }
}
