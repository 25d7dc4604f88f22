//! stub: delete an installation, or some of its objects.

use std::time::Duration;

use kube::core::DynamicObject;

use super::apply::ObjectsFailure;
use super::{Cluster, ObjectsReport};
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

/// Deletes `objects`, or everything in the installation's inventory when `None`, in reverse order.
///
/// # Errors
/// With the report of what was done, as soon as anything was begun.
pub async fn delete(
    _cluster: &Cluster,
    _installation: &str,
    _objects: Option<Vec<DynamicObject>>,
    _options: &DeleteOptions,
    _guard: &Guard,
    _progress: &dyn Progress,
) -> Result<ObjectsReport, ObjectsFailure> {
    Ok(ObjectsReport::default())
}
