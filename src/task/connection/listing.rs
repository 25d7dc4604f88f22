//! Lists kinds of a cluster that it may not serve, or that the worker may not list.

use std::fmt;

use serde_json::Value;

use crate::cluster::{self, Cluster};
use crate::task::Error;

/// A kind that could not be listed, with the reason.
#[derive(Debug)]
pub struct Unread {
    /// Such as `Pod`.
    pub kind: &'static str,
    error: cluster::Error,
}

impl Unread {
    /// A list of this kind failed.
    pub const fn new(kind: &'static str, error: cluster::Error) -> Self {
        Self { kind, error }
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.error)
    }
}

/// Passes the objects of a kind with these labels to a function, each with its `kind`. None if the cluster does not serve
/// the kind.
/// A list that is forbidden or fails goes to `unread`.
///
/// # Errors
/// When the API server cannot be reached at all.
pub async fn list(
    cluster: &Cluster,
    api_version: &str,
    kind: &'static str,
    labels: Option<&str>,
    unread: &mut Vec<Unread>,
    mut each: impl FnMut(Value) + Send,
) -> Result<(), Error> {
    let Some(served) = cluster.kind(api_version, kind).await? else { return Ok(()) };
    let listed = cluster.list(&served, None, labels, |mut object| {
        object["kind"] = Value::from(kind);
        each(object);
    });
    match listed.await {
        Err(error @ cluster::Error::Request { .. }) => unread.push(Unread::new(kind, error)),
        other => other?,
    }
    Ok(())
}
