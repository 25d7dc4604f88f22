//! stub: wait until objects are ready.

use std::time::Duration;

use super::{Cluster, Error, ObjectRef};
use crate::guard::Guard;
use crate::progress::Progress;

/// Waits until all `objects` are ready, telling what is waited for and why (the waiting container's reason).
///
/// # Errors
/// `NotReady` with the objects waited for when `at_most` has passed, `WorkloadFailed` as soon as one cannot become
/// ready, or the guard's reason to stop.
pub async fn until_ready(
    _cluster: &Cluster,
    _objects: &[ObjectRef],
    _at_most: Duration,
    _guard: &Guard,
    _progress: &dyn Progress,
) -> Result<(), Error> {
    Ok(())
}
