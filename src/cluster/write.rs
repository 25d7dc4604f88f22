//! Writes one object as planned. Independent of order and inventory.

use std::borrow::Cow;
use std::time::Duration;

use kube::api::{DeleteParams, Preconditions};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::api_error::ApiError;
use super::connection::Apply;
use super::desired::Desired;
use super::guarded::{guarded, sleep, written};
use super::locate::DiscoveryLag;
use super::options::ApplyOptions;
use super::plan::{Decision, Planned, Seen, may_recreate, with_limit_of_recreate};
use super::{Action, Cluster, Error, ignored_fields, order, removal, takeover};
use crate::failpoint::{Step, reach};
use crate::guard::Guard;

/// Attempts when another client writes the same object at the same time.
const TRIES: u32 = 3;

/// How long an object may take to go before it is created again.
const GONE_WITHIN: Duration = Duration::from_mins(2);

/// Pause between two reads of an object that changes soon.
const PAUSE: Duration = Duration::from_millis(100);

/// Executes the decision.
pub(super) async fn write(
    cluster: &Cluster,
    planned: &mut Planned,
    options: &ApplyOptions,
    guard: &Guard,
) -> Result<Action, Error> {
    let desired = &planned.desired;
    match std::mem::replace(&mut planned.decision, Decision::Unchanged) {
        Decision::Unchanged => Ok(Action::Unchanged),
        Decision::Fail(error) => Err(error),
        Decision::Recreate(seen) => recreate(cluster, desired, seen, options, guard).await,
        Decision::Create | Decision::Deferred => {
            patch(cluster, desired, options, guard).await?;
            Ok(Action::Created)
        }
        Decision::Patch(seen) => match take_over_and_patch(cluster, desired, &seen, options, guard).await {
            Ok(applied) if applied.version == seen.resource_version => Ok(Action::Unchanged),
            // Only others have written since the plan. A takeover is a write of ours.
            Ok(applied) if applied.read.as_ref() == Some(&applied.version) && !seen.writes_first() => {
                Ok(Action::Unchanged)
            }
            Ok(_) => Ok(Action::Configured),
            Err(error)
                if matches!(error.fault(), Some(ApiError::Immutable(_))) && may_recreate(desired, &seen, options) =>
            {
                recreate(cluster, desired, seen, options, guard).await
            }
            Err(error) => Err(with_limit_of_recreate(desired, &seen, error)),
        },
    }
}

/// Clears fields and makes those of earlier managers ours, if the plan says so, and applies.
async fn take_over_and_patch(
    cluster: &Cluster,
    desired: &Desired,
    seen: &Seen,
    options: &ApplyOptions,
    guard: &Guard,
) -> Result<Applied, Error> {
    if let Some(patch) = &seen.clears {
        written(guard, cluster.merge(desired.kind()?, &desired.object, patch, false)).await?;
    }
    if seen.writes_first() {
        take_over(cluster, desired, options, guard).await?;
    }
    patch(cluster, desired, options, guard).await
}

/// A crash after this loses nothing: the next attempt finds fields of ours that the set does not have, and applies.
async fn take_over(cluster: &Cluster, desired: &Desired, options: &ApplyOptions, guard: &Guard) -> Result<(), Error> {
    let kind = desired.kind()?;
    let mut tries = 1;
    loop {
        let Some(live) = guarded(guard, cluster.get_as(kind, &desired.object)).await? else { return Ok(()) };
        let Some(plan) = takeover::plan(&live, &desired.object.api_version, options) else { return Ok(()) };
        let version = live["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        let patch = json!({"metadata": {"managedFields": plan.managed_fields(), "resourceVersion": version}});
        match written(guard, cluster.merge(kind, &desired.object, &patch, false)).await {
            Ok(_) => return Ok(()),
            Err(error) if matches!(error.fault(), Some(ApiError::Conflict(_))) && tries < TRIES => tries += 1,
            Err(error) => return Err(error),
        }
        sleep(guard, PAUSE).await?;
    }
}

/// An object after it was applied.
struct Applied {
    /// Its resource version.
    version: String,
    /// The resource version before, where the object was read again because of a conflict.
    read: Option<String>,
}

fn version_of(live: &Value) -> String {
    live["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned()
}

async fn patch(cluster: &Cluster, desired: &Desired, options: &ApplyOptions, guard: &Guard) -> Result<Applied, Error> {
    // istiod may write to a webhook's configuration at any moment: what it has taken is not taken back, forced or not.
    let contested = is_contested(desired);
    let mut how = Apply { force: options.force && !contested, dry_run: false };
    let mut body = Cow::Borrowed(&desired.body);
    let kind = desired.kind()?;
    let lag = DiscoveryLag::begin();
    let mut read = None;
    let mut is_moved = false;
    let mut tries = 1;
    loop {
        let error = match written(guard, cluster.patch(kind, &desired.object, &body, how)).await {
            Ok(live) => {
                reach(Step::ObjectWritten);
                return Ok(Applied { version: version_of(&live), read });
            }
            Err(error) => error,
        };
        let is_undeclared = error.fault().is_some_and(ApiError::is_undeclared_field);
        if is_undeclared && !std::mem::replace(&mut is_moved, true) && move_versions(cluster, desired, guard).await? {
            continue;
        }
        match error.fault() {
            Some(ApiError::FieldConflict(_)) if contested && tries < TRIES => {
                let live = guarded(guard, cluster.get_as(kind, &desired.object)).await?;
                read = live.as_ref().map(version_of);
                let mut rest = desired.body.clone();
                ignored_fields::strip_ignored(&mut rest, live.as_ref());
                if rest == *body && how.force == options.force {
                    return Err(error);
                }
                body = Cow::Owned(rest);
                how.force = options.force;
                tries += 1;
            }
            Some(ApiError::Conflict(_)) if tries < TRIES => tries += 1,
            _ if lag.permits(&error) => {}
            Some(ApiError::Refused(_)) if desired.settles.is_some_and(|settles| Instant::now() < settles) => {}
            _ => return Err(error),
        }
        sleep(guard, PAUSE).await?;
    }
}

/// Moves the entries of `managedFields` to the version that is applied. False when they are all in it.
async fn move_versions(cluster: &Cluster, desired: &Desired, guard: &Guard) -> Result<bool, Error> {
    let kind = desired.kind()?;
    let Some(live) = guarded(guard, cluster.get_as(kind, &desired.object)).await? else { return Ok(false) };
    let Some(entries) = takeover::in_version(&live, &desired.object.api_version) else { return Ok(false) };
    let patch = json!({"metadata": {"managedFields": entries, "resourceVersion": version_of(&live)}});
    written(guard, cluster.merge(kind, &desired.object, &patch, false)).await?;
    Ok(true)
}

/// Whether others write to the object while it is applied.
pub(super) fn is_contested(desired: &Desired) -> bool {
    desired.object.group() == "admissionregistration.k8s.io"
}

async fn recreate(
    cluster: &Cluster,
    desired: &Desired,
    seen: Seen,
    options: &ApplyOptions,
    guard: &Guard,
) -> Result<Action, Error> {
    let preconditions = Preconditions { uid: Some(seen.uid.clone()), resource_version: None };
    // A deletion in the foreground waits for the garbage collector, which pauses while kinds come and go.
    let may_own = order::may_own(desired.object.group(), &desired.object.kind);
    let params = if may_own { DeleteParams::foreground() } else { DeleteParams::background() };
    let params = params.preconditions(preconditions);
    written(guard, cluster.remove(desired.kind()?, &desired.object, &params)).await?;
    let gone = [removal::DeleteCandidate::new(desired.object.clone(), desired.kind()?.clone(), seen.uid)];
    let stuck = removal::wait_until_deleted(cluster, &gone, Instant::now() + GONE_WITHIN, guard, |_| {}).await?;
    if !stuck.is_empty() {
        return Err(Error::StillThere { objects: stuck.into_values().collect(), after: None });
    }
    patch(cluster, desired, options, guard).await?;
    Ok(Action::Recreated)
}
