//! Deletes objects in reverse order and waits until they are gone. Knows not why they go.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use futures::{StreamExt, stream};
use kube::api::{DeleteParams, Preconditions};
use tokio::time::Instant;

use super::discovery::Kind;
use super::guarded::{guarded, sleep, written};
use super::inventory::Inventory;
use super::order::Phase;
use super::outcome::Tally;
use super::plan::{PARALLEL, held};
use super::{Action, Cluster, Error, ObjectRef, ObjectReport, live};
use crate::failpoint::{self, reach};
use crate::guard::Guard;
use crate::progress::{Progress, Step};

/// Pauses between looks at what is going.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// One object to delete: exactly this one, not another that takes its name meanwhile.
#[derive(Debug, Clone)]
pub(super) struct Doomed {
    pub object: ObjectRef,
    kind: Kind,
    uid: String,
}

impl Doomed {
    pub const fn new(object: ObjectRef, kind: Kind, uid: String) -> Self {
        Self { object, kind, uid }
    }

    fn phase(&self) -> Phase {
        Phase::of(self.object.group(), &self.object.kind)
    }
}

/// What the deletions are done under.
pub(super) struct Removal<'a> {
    pub cluster: &'a Cluster,
    pub guard: &'a Guard,
    pub generation: Option<u64>,
    pub progress: &'a dyn Progress,
    /// The word for progress steps.
    pub phase: &'static str,
    /// What the report calls it.
    pub action: Action,
    /// How long to wait until they are gone; not at all when `None`.
    pub wait: Option<Duration>,
}

impl Removal<'_> {
    /// Deletes all of `doomed`, in the background, and tells what became of each. One that fails does not stop the
    /// others of its phase, but later phases. Answers the objects that stay.
    ///
    /// # Errors
    /// A reason to stop at once. Failures of single objects are in the tally.
    pub async fn run(
        &self,
        inventory: &mut Inventory,
        mut doomed: Vec<Doomed>,
        tally: &mut Tally,
    ) -> Result<BTreeSet<ObjectRef>, Error> {
        doomed.sort_by_key(|one| Reverse(one.phase()));
        let total = doomed.len();
        let mut done = 0;
        let mut going = Vec::with_capacity(total);
        let mut staying = BTreeSet::new();
        for group in doomed.chunk_by(|a, b| a.phase() == b.phase()) {
            if !staying.is_empty() {
                for one in group {
                    staying.insert(one.object.clone());
                    tally.push(ObjectReport::skipped(one.object.clone(), "not tried, as one before it failed"));
                }
                continue;
            }
            reach(failpoint::Step::Removing);
            inventory.hold(self.cluster, self.guard, self.generation).await?;
            let work: Vec<_> = group.iter().map(|one| self.delete(one)).collect();
            let results: Vec<_> = stream::iter(work).buffered(PARALLEL).collect().await;
            done += group.len();
            for (one, result) in group.iter().zip(results) {
                match result {
                    Ok(()) => going.push(one.clone()),
                    Err(error) => {
                        tally.push_failed(one.object.clone(), &error);
                        staying.insert(one.object.clone());
                        if error.ends_work() {
                            return Err(error);
                        }
                    }
                }
            }
            self.progress.report(Step {
                phase: self.phase.to_owned(),
                message: format!("{done} of {total} objects deleted"),
                done: done as u64,
                total: total as u64,
            });
        }
        self.see_off(going, tally, &mut staying).await?;
        Ok(staying)
    }

    /// One that was gone already, or whose kind is, counts as deleted.
    async fn delete(&self, doomed: &Doomed) -> Result<(), Error> {
        let preconditions = Preconditions { uid: Some(doomed.uid.clone()), resource_version: None };
        let params = DeleteParams::background().preconditions(preconditions);
        written(self.guard, self.cluster.remove(&doomed.kind, &doomed.object, &params)).await
    }

    async fn see_off(
        &self,
        going: Vec<Doomed>,
        tally: &mut Tally,
        staying: &mut BTreeSet<ObjectRef>,
    ) -> Result<(), Error> {
        let stuck = match self.wait {
            Some(at_most) => until_gone(self.cluster, &going, at_most, self.guard).await,
            None => Ok(HashMap::new()),
        };
        let none = HashMap::new();
        for one in going {
            match stuck.as_ref().unwrap_or(&none).get(&one.object) {
                Some(held) => {
                    tally.push_failed(one.object.clone(), &Error::StillThere { objects: vec![held.clone()] });
                    staying.insert(one.object);
                }
                None => tally.push(ObjectReport::new(one.object, self.action)),
            }
        }
        stuck.map(drop)
    }
}

/// Waits until all of `doomed` are gone, at most so long; answers those that are not, each with the finalizers that
/// hold it.
pub(super) async fn until_gone(
    cluster: &Cluster,
    doomed: &[Doomed],
    at_most: Duration,
    guard: &Guard,
) -> Result<HashMap<ObjectRef, String>, Error> {
    let until = Instant::now() + at_most;
    let (mut pause, longest) = PAUSE;
    let mut left = doomed.to_vec();
    loop {
        let reads: Vec<_> =
            left.iter().enumerate().map(|(number, one)| (number, one.kind.clone(), one.object.clone())).collect();
        let mut there = guarded(guard, live::read(cluster, reads)).await?;
        there.retain(|(number, live)| live["metadata"]["uid"] == left[*number].uid.as_str());
        if there.is_empty() || Instant::now() >= until {
            let stuck = there.iter().map(|(number, live)| {
                let object = &left[*number].object;
                (object.clone(), held(&object.to_string(), live))
            });
            return Ok(stuck.collect());
        }
        left = there.iter().map(|(number, _)| left[*number].clone()).collect();
        sleep(guard, pause).await?;
        pause = (pause * 2).min(longest);
    }
}
