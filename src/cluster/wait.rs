//! Waits until objects are ready and reports what they wait for. Reads each kind of each namespace once a round, so
//! that waiting for a hundred objects costs the API server no more than waiting for one. Writes nothing.

mod injected;
mod watched;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::{Cluster, Error, ObjectRef};
use crate::error::{Class, Classify};
use crate::guard::Guard;
use crate::progress::{Progress, Step};
use watched::{Group, Watched};

pub use injected::until_injected;

/// Between two rounds: short at first, as most objects are ready soon, then longer, as an image may take minutes.
const POLL: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));
/// Pods only explain, and there are many: they are read less often.
const PODS: Duration = Duration::from_secs(2);
/// Objects named in a step.
const NAMED: usize = 3;

/// Waits until all `objects` are ready, reporting what they wait for and why (the reason of the waiting container).
///
/// # Errors
/// `NotReady` with the objects waited for when `at_most` has passed, `WorkloadFailed` as soon as one cannot become
/// ready, or the guard's reason to stop. Reads that fail for a passing reason do not end it.
pub async fn until_ready(
    cluster: &Cluster,
    objects: &[ObjectRef],
    at_most: Duration,
    guard: &Guard,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let deadline = Instant::now() + at_most;
    let mut watched = Watched::new(objects);
    let mut told = None;
    let mut pods_read = None;
    let mut looked = false;
    let mut pause = POLL.0;
    loop {
        let trouble = tokio::select! {
            biased;
            reason = guard.stopped() => return Err(reason.into()),
            () = tokio::time::sleep_until(deadline), if looked => {
                return Err(Error::NotReady { waiting: watched.waiting(), after: at_most });
            }
            round = look(cluster, &mut watched, &mut pods_read) => passing(round)?,
        };
        looked = true;
        if let Some((object, reason)) = watched.failed() {
            return Err(Error::WorkloadFailed { object: object.to_string(), reason });
        }
        let step = step(&watched, trouble.as_ref());
        if told.as_ref() != Some(&step) {
            progress.report(step.clone());
            told = Some(step);
        }
        if watched.is_done() {
            return Ok(());
        }
        tokio::select! {
            reason = guard.stopped() => return Err(reason.into()),
            () = tokio::time::sleep_until(deadline.min(Instant::now() + pause)) => {}
        }
        pause = POLL.1.min(pause * 3 / 2);
    }
}

/// Only an error that is permanent ends the wait.
fn passing(round: Result<(), Error>) -> Result<Option<Error>, Error> {
    match round {
        Ok(()) => Ok(None),
        Err(error) if matches!(error.class(), Class::Retry { .. }) => Ok(Some(error)),
        Err(error) => Err(error),
    }
}

async fn look(cluster: &Cluster, watched: &mut Watched, pods_read: &mut Option<Instant>) -> Result<(), Error> {
    for group in watched.open_groups() {
        read(cluster, &group, watched).await?;
    }
    let namespaces = watched.namespaces_of_waiting_workloads();
    if namespaces.is_empty() || pods_read.is_some_and(|read| read.elapsed() < PODS) {
        return Ok(());
    }
    *pods_read = Some(Instant::now());
    let Some(pods) = cluster.kind("v1", "Pod").await? else { return Ok(()) };
    for namespace in namespaces {
        let mut found = Vec::new();
        cluster.list(&pods, Some(&namespace), None, |pod| found.extend(watched::waiting_pod(&pod))).await?;
        watched.explain(namespace, found);
    }
    Ok(())
}

async fn read(cluster: &Cluster, group: &Group, watched: &mut Watched) -> Result<(), Error> {
    let mut found = Vec::new();
    if let Some(only) = watched.only_one_of(group) {
        found.extend(cluster.get(&only).await?);
    } else if let Some(kind) = cluster.kind(&group.api_version, &group.kind).await? {
        cluster
            .list(&kind, group.namespace.as_deref(), None, |mut object| {
                if watched.wants(group, &object) {
                    // Items of a list do not say what they are.
                    object["apiVersion"] = group.api_version.as_str().into();
                    object["kind"] = group.kind.as_str().into();
                    found.push(object);
                }
            })
            .await?;
    }
    if group.kind == "PersistentVolumeClaim" {
        watched.settle(group, &claims_that_wait_for_a_pod(cluster, &found).await);
    }
    watched.judge(group, &found);
    Ok(())
}

/// Names of claims that get their volume when the first pod uses them (`WaitForFirstConsumer`): no pod does yet, so they
/// are as ready as they can be. Without the right to read `StorageClass` objects there are none.
async fn claims_that_wait_for_a_pod(cluster: &Cluster, claims: &[Value]) -> Vec<Value> {
    let mut by_class: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for claim in claims {
        let is_open = claim["status"]["phase"] == "Pending"
            && claim["metadata"]["annotations"]["volume.kubernetes.io/selected-node"].is_null();
        let Some(class) = claim["spec"]["storageClassName"].as_str().filter(|_| is_open) else { continue };
        by_class.entry(class).or_default().push(&claim["metadata"]["name"]);
    }
    let mut waits = Vec::new();
    for (class, names) in by_class {
        let class = ObjectRef::new("storage.k8s.io/v1", "StorageClass", None, class);
        if let Ok(Some(class)) = cluster.get(&class).await
            && class["volumeBindingMode"] == "WaitForFirstConsumer"
        {
            waits.extend(names.into_iter().cloned());
        }
    }
    waits
}

fn step(watched: &Watched, trouble: Option<&Error>) -> Step {
    let (done, total) = watched.counts();
    let mut waiting = watched.waiting();
    let more = waiting.len().saturating_sub(NAMED);
    waiting.truncate(NAMED);
    let mut message = match waiting.as_slice() {
        [] if total == 1 => "the object is ready".to_owned(),
        [] => format!("all {total} objects are ready"),
        named => named.join("; "),
    };
    if more > 0 {
        message = format!("{message}; and {more} more");
    }
    if let Some(trouble) = trouble {
        message = format!("{message}; cannot look at the moment: {trouble}");
    }
    Step { phase: "wait".to_owned(), message, done: done as u64, total: total as u64 }
}
