//! Deletes an installation, or some of its objects, in reverse order.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use kube::core::DynamicObject;
use serde_json::Value;

use super::guarded::guarded;
use super::installations::Installations;
use super::inventory::{self, Claim, Inventory};
use super::locate::{self, DiscoveryLag, Located};
use super::outcome::ObjectsFailure;
use super::outcome::ReportBuilder;
use super::removal::{DeleteCandidate, Removal};
use super::{Action, Cluster, Error, Family, ObjectRef, ObjectReport, ObjectsReport, desired, live, order, ownership};
use crate::guard::Guard;
use crate::progress::Progress;

/// How to delete.
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    /// The family of verbs that deletes; the inventory carries it.
    pub family: Family,
    /// For namespaced objects that name none; `default` when absent.
    pub namespace: Option<String>,
    /// Report what would go, write nothing.
    pub dry_run: bool,
    /// Delete named objects that the installation does not own, too.
    pub adopt: bool,
    /// Delete Namespaces, CRDs and `PersistentVolumeClaim`s too, with everything in them.
    pub purge: bool,
    /// Longest time to wait until the objects are deleted. Between phases it waits in any case.
    pub wait: Option<Duration>,
    /// Refuse as superseded when the inventory holds a higher one.
    pub generation: Option<u64>,
}

/// Deletes `objects`, or everything in the installation's inventory when `None`, in reverse order. What is not there
/// is a success; so is an installation that does not exist.
///
/// # Errors
/// With a report, if any object was processed.
pub async fn delete(
    cluster: &Cluster,
    installation: &str,
    objects: Option<Vec<DynamicObject>>,
    options: &DeleteOptions,
    guard: &Guard,
    progress: &dyn Progress,
) -> Result<ObjectsReport, ObjectsFailure> {
    let report = ObjectsReport { dry_run: options.dry_run, ..ObjectsReport::default() };
    let mut run = Run { cluster, options, guard, progress, report_builder: ReportBuilder::new(report) };
    // Boxed: the callers' own futures stay small enough for the stacks of threads.
    let result = Box::pin(run.all(installation, objects)).await;
    run.report_builder.finish(result)
}

/// A deletion in progress.
struct Run<'a> {
    cluster: &'a Cluster,
    options: &'a DeleteOptions,
    guard: &'a Guard,
    progress: &'a dyn Progress,
    report_builder: ReportBuilder,
}

/// The plan for the candidates.
#[derive(Default)]
struct Judged {
    doomed: Vec<DeleteCandidate>,
    /// Stay in the inventory.
    staying: BTreeSet<ObjectRef>,
}

/// The plan for one live object.
enum Verdict {
    Delete,
    /// It stays in the cluster and in the inventory.
    Keep(String),
    /// It stays in the cluster and leaves the inventory.
    Leave(String),
    Refuse(Error),
}

/// An object to delete, and how its kind is served.
type Candidate = (Located, ObjectRef);

impl Run<'_> {
    async fn all(&mut self, installation: &str, objects: Option<Vec<DynamicObject>>) -> Result<(), Error> {
        self.guard.check()?;
        let claim = Claim { family: self.options.family, adopt: self.options.adopt };
        let mut inventory = guarded(self.guard, Inventory::read(self.cluster, installation, claim)).await?;
        if !self.options.dry_run {
            inventory.admit(self.guard.fence(), self.options.generation)?;
        }
        let named = objects.is_some();
        let (candidates, live) = guarded(self.guard, self.read(&inventory, objects)).await?;
        let all: Vec<_> = candidates.iter().map(|(_, object)| object.clone()).collect();
        let judged = self.judge(&inventory.id(), candidates, live, named).await;
        if self.options.dry_run {
            for one in judged.doomed {
                self.report_builder.push(ObjectReport::new(one.object, Action::Deleted));
            }
            return self.report_builder.failure();
        }
        let mut staying = self.remove(&mut inventory, judged.doomed).await?;
        staying.extend(judged.staying);
        self.settle(&mut inventory, &all, &staying).await?;
        self.report_builder.failure()
    }

    async fn read(
        &self,
        inventory: &Inventory,
        objects: Option<Vec<DynamicObject>>,
    ) -> Result<(Vec<Candidate>, HashMap<usize, Value>), Error> {
        let mut lag = DiscoveryLag::begin();
        loop {
            let candidates = self.candidates(inventory, objects.clone()).await?;
            candidates.iter().try_for_each(|(_, object)| self.cluster.check_write(object))?;
            match self.live(&candidates).await {
                Ok(live) => return Ok((candidates, live)),
                Err(error) if lag.explains(&error).await => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn candidates(
        &self,
        inventory: &Inventory,
        objects: Option<Vec<DynamicObject>>,
    ) -> Result<Vec<Candidate>, Error> {
        if let Some(objects) = objects {
            return desired::locate(self.cluster, objects, self.options.namespace.as_deref()).await;
        }
        let mut found = Vec::with_capacity(inventory.entries.len());
        for entry in &inventory.entries {
            found.push((locate::entry(self.cluster, entry).await?, entry.clone()));
        }
        Ok(found)
    }

    /// The live candidates, by their index.
    async fn live(&self, candidates: &[Candidate]) -> Result<HashMap<usize, Value>, Error> {
        let served = |(number, (located, object)): (usize, &Candidate)| match located {
            Located::Served(kind) => Some((number, kind.clone(), object.clone())),
            Located::Gone | Located::Unserved(_) => None,
        };
        let reads: Vec<_> = candidates.iter().enumerate().filter_map(served).collect();
        Ok(live::read(self.cluster, reads).await?.into_iter().collect())
    }

    /// Sorts out what is not there or not to be deleted: an object has to carry the installation's label, or the
    /// command names it and has `adopt`.
    async fn judge(
        &mut self,
        id: &str,
        candidates: Vec<Candidate>,
        mut live: HashMap<usize, Value>,
        named: bool,
    ) -> Judged {
        let mut judged = Judged::default();
        let installations = Installations::of(self.cluster);
        for (number, (located, object)) in candidates.into_iter().enumerate() {
            let (kind, live) = match (located, live.remove(&number)) {
                (Located::Unserved(reason), _) => {
                    self.report_builder
                        .push_failed(object.clone(), &Error::KindUnserved { object: object.to_string(), reason });
                    judged.staying.insert(object);
                    continue;
                }
                (Located::Served(kind), Some(live)) => (kind, live),
                (Located::Gone | Located::Served(_), _) => {
                    self.report_builder.push(ObjectReport::new(object, Action::Absent));
                    continue;
                }
            };
            match self.verdict(&object, &live, id, named) {
                Verdict::Delete => {
                    let uid = live["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
                    judged.doomed.push(DeleteCandidate::new(object, kind, uid));
                }
                Verdict::Refuse(error) => {
                    let error = installations.name_owner(&live, error).await;
                    self.report_builder.push_failed(object.clone(), &error);
                    judged.staying.insert(object);
                }
                Verdict::Keep(reason) => {
                    self.report_builder.push(ObjectReport::skipped(object.clone(), reason));
                    judged.staying.insert(object);
                }
                Verdict::Leave(reason) => self.report_builder.push(ObjectReport::skipped(object, reason)),
            }
        }
        judged
    }

    fn verdict(&self, object: &ObjectRef, live: &Value, id: &str, named: bool) -> Verdict {
        let holds_inventories = object.kind == "Namespace" && object.name == self.cluster.inventory_namespace();
        if holds_inventories || inventory::is_inventory(self.cluster, object, live) {
            return Verdict::Refuse(Error::IsInventory { object: object.to_string() });
        }
        let adopted = named && self.options.adopt;
        if !ownership::ours(live, id) && !adopted {
            return match ownership::other_owner(live, id).filter(|_| named) {
                Some(owner) => Verdict::Refuse(Error::Owned { object: object.to_string(), owner }),
                None if named => Verdict::Leave(
                    "it does not carry the installation's label; set adopt to delete it anyway".to_owned(),
                ),
                None => Verdict::Leave("it no longer carries the installation's label".to_owned()),
            };
        }
        if let Some(reason) = ownership::keep(live).filter(|_| !named) {
            return Verdict::Leave(reason);
        }
        if order::never_recreated(object.group(), &object.kind) && !self.options.purge {
            return Verdict::Keep(format!(
                "a {} is deleted, with everything in it, only with purge and confirm",
                object.kind
            ));
        }
        Verdict::Delete
    }

    async fn remove(
        &mut self,
        inventory: &mut Inventory,
        doomed: Vec<DeleteCandidate>,
    ) -> Result<BTreeSet<ObjectRef>, Error> {
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
            wait_is_given: self.options.wait.is_some(),
        };
        removal.run(inventory, doomed, &mut self.report_builder).await
    }

    /// Stores the remaining objects of the installation. Without any, the inventory is deleted last. With a generation it
    /// is stored empty instead, so that an older command that arrives later finds it.
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
