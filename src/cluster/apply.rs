//! Applies a set of objects as one installation: plan, fence, write phase by phase, prune, wait.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{StreamExt, stream};
use kube::core::DynamicObject;
use tokio::time::Instant;

use super::api_error::ApiError;
use super::desired::{self, Desired};
use super::guarded::{guarded, written};
use super::inventory::{self, Claim, Inventory};
use super::locate::{self, Located};
use super::options::ApplyOptions;
use super::order::Phase;
use super::outcome::{ObjectsFailure, ReportBuilder};
use super::plan::{self, Decision, PARALLEL, Planned};
use super::prune::{self, Prune};
use super::removal::Removal;
use super::write::write;
use super::{Action, Cluster, Error, ObjectRef, ObjectReport, ObjectsReport, established, order, wait};
use crate::failpoint::{self, reach};
use crate::guard::Guard;
use crate::progress::{Progress, Step};
use crate::prose::plural;

/// How long pruned objects may take to go when the command does not say how long to wait.
const GONE_WITHIN: Duration = Duration::from_mins(1);

/// How long an API server may judge objects by the CRD as it was before the set changed it. A healthy one needs
/// milliseconds.
const SCHEMA_WITHIN: Duration = Duration::from_secs(5);

/// Applies `objects` as the installation `installation`: what differs is written, in order, by server-side apply.
///
/// # Errors
/// With a report, if any object was processed.
pub async fn apply(
    cluster: &Cluster,
    installation: &str,
    objects: Vec<DynamicObject>,
    options: &ApplyOptions,
    guard: &Guard,
    progress: &dyn Progress,
) -> Result<ObjectsReport, ObjectsFailure> {
    let report = ObjectsReport { dry_run: options.dry_run, ..ObjectsReport::default() };
    let mut run = Run { cluster, options, guard, progress, report_builder: ReportBuilder::new(report) };
    // Boxed: the callers' own futures stay small enough for the stacks of threads.
    let result = Box::pin(run.all(installation, objects)).await;
    run.report_builder.finish(result)
}

/// An application in progress.
struct Run<'a> {
    cluster: &'a Cluster,
    options: &'a ApplyOptions,
    guard: &'a Guard,
    progress: &'a dyn Progress,
    report_builder: ReportBuilder,
}

impl Run<'_> {
    async fn all(&mut self, installation: &str, objects: Vec<DynamicObject>) -> Result<(), Error> {
        self.guard.check()?;
        self.step("plan", 0, objects.len(), "comparing with the cluster");
        let claim = Claim { family: self.options.family, adopt: self.options.adopt };
        let mut inventory = guarded(self.guard, Inventory::read(self.cluster, installation, claim)).await?;
        if !self.options.dry_run {
            inventory.admit(self.guard.fence(), self.options.generation)?;
        }
        let namespace = self.options.namespace.as_deref();
        let mut set = guarded(self.guard, desired::resolve(self.cluster, objects, namespace)).await?;
        self.refuse_unknown(&set).await?;
        self.refuse_inapplicable(&set)?;
        self.refuse_inventories(&set)?;
        self.refuse_disallowed(&set)?;
        let id = inventory.id();
        for one in &mut set {
            desired::label(&mut one.body, &id);
        }
        set.sort_by_key(|one| one.phase);
        let refs: Vec<_> = set.iter().map(|one| one.object.clone()).collect();

        let missing = guarded(self.guard, self.missing_namespaces(&set)).await?;
        let planned = guarded(self.guard, plan::plan(self.cluster, set, &id, self.options, &missing)).await?;
        let mut prune = self.plan_prune(&inventory, &refs).await?;
        prune.doomed.iter().try_for_each(|one| self.cluster.check_write(&one.object))?;
        if self.options.dry_run {
            return self.tell(&missing, planned, prune);
        }

        let after: BTreeSet<_> = refs.iter().cloned().chain(prune.staying.iter().cloned()).collect();
        let writes = planned.iter().any(|one| one.decision.writes());
        let restated = self.options.origin.is_some() && inventory.origin != self.options.origin;
        if restated {
            inventory.origin.clone_from(&self.options.origin);
        }
        let before = inventory.clone();
        if restated || writes || !missing.is_empty() || !prune.doomed.is_empty() {
            let union = inventory.entries.union(&after).cloned().collect();
            reach(failpoint::Step::Planned);
            inventory.write(self.cluster, union, self.guard, self.options.generation).await?;
            reach(failpoint::Step::Fenced);
        }
        self.create_namespaces(&missing).await?;
        self.write_all(&mut inventory, planned, &id).await?;
        self.report_builder.failure()?;
        reach(failpoint::Step::ObjectsWritten);
        if !prune.doomed.is_empty() {
            // The set may have changed which versions of a kind are served, and which object is whose.
            prune = self.plan_prune(&before, &refs).await?;
        }
        let after = refs.iter().cloned().chain(prune.staying.iter().cloned()).collect();
        self.prune(&mut inventory, prune, after).await?;
        self.report_builder.failure()?;
        match self.options.wait {
            Some(at_most) => wait::until_ready(self.cluster, &refs, at_most, self.guard, self.progress).await,
            None => Ok(()),
        }
    }

    async fn plan_prune(&self, inventory: &Inventory, refs: &[ObjectRef]) -> Result<Prune, Error> {
        if self.options.prune {
            guarded(self.guard, prune::plan(self.cluster, &inventory.entries, refs, &inventory.id())).await
        } else {
            Ok(Prune { staying: left(&inventory.entries, refs), ..Prune::default() })
        }
    }

    fn step(&self, phase: &str, done: usize, total: usize, message: impl Into<String>) {
        let (done, total) = (done as u64, total as u64);
        self.progress.report(Step { phase: phase.to_owned(), message: message.into(), done, total });
    }

    /// Nothing is written as long as one kind is unknown: half a set is worse than none. A kind that exists and is not
    /// served at the moment is worth another attempt.
    async fn refuse_unknown(&mut self, set: &[Desired]) -> Result<(), Error> {
        let unknown: Vec<_> = set.iter().filter(|one| one.kind.is_none()).collect();
        let Some(first) = unknown.first() else { return Ok(()) };
        let mut refusal = self.unknown(first).await;
        if !order::builtin(first.object.group())
            && let Located::Unserved(reason) = guarded(self.guard, locate::kind(self.cluster, &first.object)).await?
        {
            refusal = Error::KindUnserved { object: first.object.to_string(), reason };
        }
        for one in set {
            self.report_builder.push(match one.kind {
                None if one.object == first.object => ObjectReport::failed(one.object.clone(), &refusal),
                None => ObjectReport::failed(one.object.clone(), &self.unknown(one).await),
                Some(_) => ObjectReport::skipped(one.object.clone(), "nothing is written while a kind is unknown"),
            });
        }
        Err(refusal)
    }

    /// The error for an object of an unknown kind, with suggestions.
    async fn unknown(&self, one: &Desired) -> Error {
        let mut error = one.unknown();
        if let Error::UnknownKind { api_version, kind, near, .. } = &mut error {
            *near = self.cluster.near_kind(api_version, kind).await;
        }
        error
    }

    /// Nothing is written if an object's kind can only be created, as a review can.
    fn refuse_inapplicable(&mut self, set: &[Desired]) -> Result<(), Error> {
        let is_inapplicable = |one: &&Desired| one.kind.as_ref().is_some_and(|kind| !kind.applicable);
        let Some(found) = set.iter().find(is_inapplicable) else { return Ok(()) };
        let reason = "the API server cannot get and patch objects of this kind".to_owned();
        let (object, fault) = (found.object.to_string(), ApiError::Refused(reason));
        let error = Error::Request { verb: "apply", object, fault };
        self.report_builder.push_failed(found.object.clone(), &error);
        Err(error)
    }

    /// Nothing is written if the set has an inventory: a forged one would have other objects deleted.
    fn refuse_inventories(&mut self, set: &[Desired]) -> Result<(), Error> {
        let found = set.iter().find(|one| inventory::is_inventory(self.cluster, &one.object, &one.body));
        let Some(found) = found else { return Ok(()) };
        let error = Error::IsInventory { object: found.object.to_string() };
        self.report_builder.push(ObjectReport::failed(found.object.clone(), &error));
        Err(error)
    }

    /// Nothing is written, and no object is read, if the target's allow-list lacks one of the objects.
    fn refuse_disallowed(&mut self, set: &[Desired]) -> Result<(), Error> {
        let mut refusal = Ok(());
        for one in set {
            if let Err(error) = self.cluster.check_write(&one.object) {
                self.report_builder.push(ObjectReport::failed(one.object.clone(), &error));
                refusal = refusal.and(Err(error));
            }
        }
        refusal
    }

    /// Namespaces that the set's objects are in, that are not in the set, and do not exist.
    async fn missing_namespaces(&self, set: &[Desired]) -> Result<BTreeSet<String>, Error> {
        if !self.options.create_namespace {
            return Ok(BTreeSet::new());
        }
        let own: BTreeSet<_> =
            set.iter().filter(|one| one.phase == Phase::Namespaces).map(|one| &one.object.name).collect();
        let used: BTreeSet<_> = set.iter().filter_map(|one| one.object.namespace.as_ref()).collect();
        let mut missing = BTreeSet::new();
        for name in used.difference(&own) {
            let object = inventory::namespace_ref(name);
            if self.cluster.get_as(&inventory::namespace_kind(), &object).await?.is_none() {
                self.cluster.check_write(&object)?;
                missing.insert((*name).clone());
            }
        }
        Ok(missing)
    }

    async fn create_namespaces(&mut self, missing: &BTreeSet<String>) -> Result<(), Error> {
        for name in missing {
            let object = written(self.guard, inventory::namespace(self.cluster, name)).await?;
            self.report_builder.push(ObjectReport::new(object, Action::Created));
        }
        Ok(())
    }

    /// Writes what the plan says, phase by phase. Objects after a failed phase are reported as not tried.
    async fn write_all(&mut self, inventory: &mut Inventory, planned: Vec<Planned>, id: &str) -> Result<(), Error> {
        let total = planned.len();
        let mut planned = planned.into_iter().peekable();
        let mut stop = None;
        let mut done = 0;
        while let Some(phase) = planned.peek().map(|one| one.desired.phase) {
            let mut group = Vec::new();
            while let Some(one) = planned.next_if(|one| one.desired.phase == phase) {
                group.push(one);
            }
            done += group.len();
            if stop.is_none() && !self.report_builder.failed() {
                stop = self.write_phase(inventory, phase, group, id).await.err();
                self.step("apply", done, total, format!("{done} of {} processed", plural(total, "object")));
            } else {
                self.leave(group);
            }
        }
        stop.map_or(Ok(()), Err)
    }

    async fn write_phase(
        &mut self,
        inventory: &mut Inventory,
        phase: Phase,
        group: Vec<Planned>,
        id: &str,
    ) -> Result<(), Error> {
        let mut group = match self.decide_deferred(group, id).await {
            Ok(group) => group,
            Err((group, error)) => {
                self.leave(group);
                return Err(error);
            }
        };
        if group.iter().any(|one| one.decision.writes())
            && let Err(error) = inventory.assert_fence(self.cluster, self.guard, self.options.generation).await
        {
            self.leave(group);
            return Err(error);
        }
        let settles = Instant::now() + SCHEMA_WITHIN;
        for one in group.iter_mut().filter(|one| one.desired.redefined) {
            one.desired.settles = Some(settles);
        }
        let work: Vec<_> = group.iter_mut().map(|one| write(self.cluster, one, self.options, self.guard)).collect();
        let results: Vec<_> = stream::iter(work).buffered(PARALLEL).collect().await;
        let mut stop = None;
        let mut crds = Vec::new();
        for (one, result) in group.into_iter().zip(results) {
            let object = one.desired.object;
            match result {
                Ok(action) => {
                    if phase == Phase::Definitions && action.writes() {
                        crds.push(object.clone());
                    }
                    let reason = one.note.filter(|_| action.writes());
                    self.report_builder.push(ObjectReport { reason, ..ObjectReport::new(object, action) });
                }
                Err(error) => {
                    self.report_builder.push_failed(object, &error);
                    if error.ends_work() {
                        stop = Some(error);
                    }
                }
            }
        }
        if let Some(stop) = stop {
            return Err(stop);
        }
        if crds.is_empty() { Ok(()) } else { established::wait(self.cluster, &crds, self.guard).await }
    }

    /// Reports the objects of a phase that is not written, because an earlier one failed.
    fn leave(&mut self, group: Vec<Planned>) {
        for one in group {
            match one.decision {
                Decision::Unchanged => {
                    self.report_builder.push(ObjectReport::new(one.desired.object, Action::Unchanged));
                }
                Decision::Fail(error) => self.report_builder.push_failed(one.desired.object, &error),
                _ => {
                    let reason = "not tried, as work ended before its turn";
                    self.report_builder.push(ObjectReport::skipped(one.desired.object, reason));
                }
            }
        }
    }

    /// Plans the objects whose kinds were not there when the others were planned.
    async fn decide_deferred(&self, group: Vec<Planned>, id: &str) -> Result<Vec<Planned>, (Vec<Planned>, Error)> {
        let (later, mut group): (Vec<_>, Vec<_>) =
            group.into_iter().partition(|one| matches!(one.decision, Decision::Deferred));
        if later.is_empty() {
            return Ok(group);
        }
        let set: Vec<_> = later.into_iter().map(|one| Desired { pending: false, ..one.desired }).collect();
        let again = set.clone();
        match guarded(self.guard, plan::plan(self.cluster, set, id, self.options, &BTreeSet::new())).await {
            Ok(planned) => {
                group.extend(planned);
                Ok(group)
            }
            Err(error) => {
                let undecided =
                    |desired| Planned { desired, decision: Decision::Deferred, note: None, diff: Vec::new() };
                group.extend(again.into_iter().map(undecided));
                Err((group, error))
            }
        }
    }

    /// Deletes what left the set and stores what the installation now has.
    async fn prune(
        &mut self,
        inventory: &mut Inventory,
        prune: Prune,
        mut after: BTreeSet<ObjectRef>,
    ) -> Result<(), Error> {
        prune.left_alone.into_iter().for_each(|line| self.report_builder.push(line));
        let generation = self.options.generation;
        let removal = Removal {
            cluster: self.cluster,
            guard: self.guard,
            generation,
            progress: self.progress,
            phase: "prune",
            action: Action::Pruned,
            wait: Some(self.options.wait.unwrap_or(GONE_WITHIN)),
            wait_is_given: self.options.wait.is_some(),
        };
        after.extend(removal.run(inventory, prune.doomed, &mut self.report_builder).await?);
        if inventory.entries != after || inventory.older_than(generation) {
            inventory.write(self.cluster, after, self.guard, generation).await?;
        }
        Ok(())
    }

    /// The report of a dry run.
    fn tell(&mut self, missing: &BTreeSet<String>, planned: Vec<Planned>, prune: Prune) -> Result<(), Error> {
        for name in missing {
            self.report_builder.push(ObjectReport::new(inventory::namespace_ref(name), Action::Created));
        }
        for one in planned {
            let object = one.desired.object;
            let action = match one.decision {
                Decision::Unchanged => Action::Unchanged,
                Decision::Create | Decision::Deferred => Action::Created,
                Decision::Patch(_) => Action::Configured,
                Decision::Recreate(_) => Action::Recreated,
                Decision::Fail(error) => {
                    self.report_builder.push_failed(object, &error);
                    continue;
                }
            };
            let reason = one.note.filter(|_| action.writes());
            self.report_builder.push(ObjectReport { reason, diff: one.diff, ..ObjectReport::new(object, action) });
        }
        prune.left_alone.into_iter().for_each(|line| self.report_builder.push(line));
        for doomed in prune.doomed {
            self.report_builder.push(ObjectReport::new(doomed.object, Action::Pruned));
        }
        self.report_builder.failure()
    }
}

/// Entries of the inventory that are not in the set.
fn left(entries: &BTreeSet<ObjectRef>, refs: &[ObjectRef]) -> BTreeSet<ObjectRef> {
    let desired: BTreeSet<_> = refs.iter().map(ObjectRef::identity).collect();
    entries.iter().filter(|entry| !desired.contains(&entry.identity())).cloned().collect()
}
