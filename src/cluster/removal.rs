//! Deletes objects in reverse order and waits until they are deleted.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use futures::{StreamExt, stream};
use kube::api::{DeleteParams, Preconditions};
use tokio::time::Instant;

use super::discovery::Kind;
use super::guarded::{guarded, sleep, written};
use super::inventory::Inventory;
use super::locate::{self, DiscoveryLag, Located};
use super::order::Phase;
use super::outcome::ReportBuilder;
use super::plan::{PARALLEL, blocked_by};
use super::{Action, Cluster, Error, ObjectRef, ObjectReport, live};
use crate::failpoint::{self, reach};
use crate::guard::Guard;
use crate::progress::{Progress, Step};
use crate::prose::plural;

/// Pauses between two checks of terminating objects.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// How long a phase may take to go before the next one begins, when the command does not say how long to wait.
const PHASE_WITHIN: Duration = Duration::from_mins(1);

/// Objects named in a step.
const NAMED: usize = 3;

/// One object to delete: exactly this one, not another that takes its name meanwhile.
#[derive(Debug, Clone)]
pub(super) struct DeleteCandidate {
    pub object: ObjectRef,
    kind: Kind,
    uid: String,
}

impl DeleteCandidate {
    pub const fn new(object: ObjectRef, kind: Kind, uid: String) -> Self {
        Self { object, kind, uid }
    }

    fn phase(&self) -> Phase {
        Phase::of(self.object.group(), &self.object.kind)
    }
}

/// Context of the deletions.
pub(super) struct Removal<'a> {
    pub cluster: &'a Cluster,
    pub guard: &'a Guard,
    pub generation: Option<u64>,
    pub progress: &'a dyn Progress,
    /// The word for progress steps.
    pub phase: &'static str,
    /// Name of the action in the report.
    pub action: Action,
    /// How long to wait until all are deleted; `None` waits between the phases only.
    pub wait: Option<Duration>,
    /// Whether the command gives that time, so that no other attempt waits again.
    pub wait_is_given: bool,
}

impl Removal<'_> {
    /// Deletes all of `doomed` phase by phase, in the background, and reports what became of each. A phase begins when
    /// the objects of the one before are deleted: an operator must outlive the objects whose finalizers it removes. One
    /// that fails, or stays, does not stop the others of its phase, but later phases. Answers the objects that stay.
    ///
    /// # Errors
    /// A reason to stop at once. Failures of single objects are in the report.
    pub async fn run(
        &self,
        inventory: &mut Inventory,
        mut doomed: Vec<DeleteCandidate>,
        report_builder: &mut ReportBuilder,
    ) -> Result<BTreeSet<ObjectRef>, Error> {
        doomed.sort_by_key(|one| Reverse(one.phase()));
        let until = self.wait.map(|wait| Instant::now() + wait);
        let mut counts = (0, doomed.len());
        let mut staying = BTreeSet::new();
        let mut stop = None;
        let mut phases = doomed.chunk_by(|a, b| a.phase() == b.phase()).peekable();
        while let Some(phase) = phases.next() {
            if stop.is_some() || !staying.is_empty() {
                skip(phase, staying.first(), report_builder);
                staying.extend(phase.iter().map(|one| one.object.clone()));
                continue;
            }
            counts.0 += phase.len();
            // The last phase is waited for only when the command says so.
            let until = until.or_else(|| phases.peek().map(|_| Instant::now() + PHASE_WITHIN));
            stop = self.remove_phase(inventory, phase, until, counts, report_builder, &mut staying).await.err();
        }
        stop.map_or(Ok(staying), Err)
    }

    async fn remove_phase(
        &self,
        inventory: &mut Inventory,
        phase: &[DeleteCandidate],
        until: Option<Instant>,
        counts: (usize, usize),
        report_builder: &mut ReportBuilder,
        staying: &mut BTreeSet<ObjectRef>,
    ) -> Result<(), Error> {
        reach(failpoint::Step::Removing);
        if let Err(error) = inventory.assert_fence(self.cluster, self.guard, self.generation).await {
            skip(phase, None, report_builder);
            return Err(error);
        }
        let work: Vec<_> = phase.iter().map(|one| self.delete(one)).collect();
        let results: Vec<_> = stream::iter(work).buffered(PARALLEL).collect().await;
        let mut going = Vec::with_capacity(phase.len());
        let mut stop = None;
        for (one, result) in phase.iter().zip(results) {
            match result {
                Ok(()) => going.push(one.clone()),
                Err(error) => {
                    report_builder.push_failed(one.object.clone(), &error);
                    staying.insert(one.object.clone());
                    if error.ends_work() {
                        stop = Some(error);
                    }
                }
            }
        }
        let (done, total) = counts;
        self.step(counts, format!("{done} of {} deleted", plural(total, "object")));
        let stuck = match until.filter(|_| stop.is_none()) {
            Some(until) => {
                let blocked = |left: &[String]| self.step(counts, waiting_for(left));
                wait_until_deleted(self.cluster, &going, until, self.guard, blocked).await
            }
            None => Ok(HashMap::new()),
        };
        let none = HashMap::new();
        for one in going {
            match stuck.as_ref().unwrap_or(&none).get(&one.object) {
                Some(blocked) => {
                    let after = self.wait.filter(|_| self.wait_is_given);
                    let error = Error::StillThere { objects: vec![blocked.clone()], after };
                    report_builder.push_failed(one.object.clone(), &error);
                    staying.insert(one.object);
                }
                None => report_builder.push(ObjectReport::new(one.object, self.action)),
            }
        }
        stop.map_or(stuck.map(drop), Err)
    }

    fn step(&self, (done, total): (usize, usize), message: String) {
        self.progress.report(Step { phase: self.phase.to_owned(), message, done: done as u64, total: total as u64 });
    }

    /// An object that does not exist counts as deleted. One whose version is not served any more is deleted in another.
    async fn delete(&self, doomed: &DeleteCandidate) -> Result<(), Error> {
        let preconditions = Preconditions { uid: Some(doomed.uid.clone()), resource_version: None };
        let params = DeleteParams::background().preconditions(preconditions);
        let mut kind = Cow::Borrowed(&doomed.kind);
        let mut lag = DiscoveryLag::begin();
        loop {
            match written(self.guard, self.cluster.remove(&kind, &doomed.object, &params)).await {
                Err(error) if guarded(self.guard, async { Ok(lag.explains(&error).await) }).await? => {}
                answer => return answer,
            }
            match guarded(self.guard, locate::entry(self.cluster, &doomed.object)).await? {
                Located::Gone => return Ok(()),
                Located::Served(found) => kind = Cow::Owned(found),
                Located::Unserved(reason) => {
                    return Err(Error::KindUnserved { object: doomed.object.to_string(), reason });
                }
            }
        }
    }
}

/// Reports objects that are not processed.
fn skip(phase: &[DeleteCandidate], before: Option<&ObjectRef>, report_builder: &mut ReportBuilder) {
    let reason = before.map_or_else(
        || "not deleted, as work ended before its turn".to_owned(),
        |before| format!("not deleted, as {before} has to go first"),
    );
    for one in phase {
        report_builder.push(ObjectReport::skipped(one.object.clone(), reason.clone()));
    }
}

fn waiting_for(left: &[String]) -> String {
    let more = left.len().saturating_sub(NAMED);
    let named = left.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
    if more == 0 {
        format!("waiting until gone: {named}")
    } else {
        format!("waiting until gone: {named}; and {more} more")
    }
}

/// Waits until all of `doomed` are deleted, no longer than `until`; returns the remaining ones, each with the finalizers
/// that block it. Calls `blocked` with the remaining ones whenever they change.
pub(super) async fn wait_until_deleted(
    cluster: &Cluster,
    doomed: &[DeleteCandidate],
    until: Instant,
    guard: &Guard,
    mut blocked: impl FnMut(&[String]),
) -> Result<HashMap<ObjectRef, String>, Error> {
    let (mut pause, longest) = PAUSE;
    let mut left = doomed.to_vec();
    let mut told = Vec::new();
    loop {
        let stuck = guarded(guard, look(cluster, &mut left)).await?;
        if stuck.is_empty() || Instant::now() >= until {
            return Ok(stuck);
        }
        let mut names: Vec<_> = stuck.into_values().collect();
        names.sort();
        // Most go within the first pause; only what stays longer is worth a word.
        if pause > PAUSE.0 && names != told {
            blocked(&names);
            told = names;
        }
        sleep(guard, pause.min(until.saturating_duration_since(Instant::now()))).await?;
        pause = (pause * 2).min(longest);
    }
}

/// Those of `left` that are still there, each with what blocks it. A kind whose version is not served any more is read in
/// another one; one that is gone has no objects.
async fn look(cluster: &Cluster, left: &mut Vec<DeleteCandidate>) -> Result<HashMap<ObjectRef, String>, Error> {
    let reads = |left: &[DeleteCandidate]| {
        left.iter().enumerate().map(|(i, it)| (i, it.kind.clone(), it.object.clone())).collect::<Vec<_>>()
    };
    let mut lag = DiscoveryLag::begin();
    let mut there = loop {
        match live::read(cluster, reads(left)).await {
            Err(error) if lag.explains(&error).await => relocate(cluster, left).await?,
            answer => break answer?,
        }
    };
    there.retain(|(number, live)| live["metadata"]["uid"] == left[*number].uid.as_str());
    let stuck = there.iter().map(|(number, live)| {
        let object = &left[*number].object;
        (object.clone(), blocked_by(&object.to_string(), live))
    });
    let stuck = stuck.collect();
    *left = there.iter().map(|(number, _)| left[*number].clone()).collect();
    Ok(stuck)
}

async fn relocate(cluster: &Cluster, left: &mut Vec<DeleteCandidate>) -> Result<(), Error> {
    let mut found = Vec::with_capacity(left.len());
    for one in left.drain(..) {
        match locate::entry(cluster, &one.object).await? {
            Located::Gone => {}
            Located::Served(kind) => found.push(DeleteCandidate { kind, ..one }),
            Located::Unserved(reason) => {
                return Err(Error::KindUnserved { object: one.object.to_string(), reason });
            }
        }
    }
    *left = found;
    Ok(())
}
