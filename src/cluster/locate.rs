//! Finds how the cluster serves the kind of an object that an inventory or a manifest names, and distinguishes a
//! deleted kind from one that is temporarily not served: discovery lacks a kind while an aggregated API is down, on an
//! API server that is not up to date, and when a CRD serves no version. Objects of such a kind still exist.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::api_error::ApiError;
use super::discovery::Kind;
use super::{Cluster, Error, ObjectRef, order};

/// How long discovery and the served resources may differ after a CRD changed: each API server follows by itself. A
/// healthy one needs well under a second.
const DIFFERS_FOR: Duration = Duration::from_secs(10);

const PAUSE: Duration = Duration::from_millis(100);

/// Bounds how often a request is repeated that the API server answers with 404 for a resource that its discovery lists.
pub(super) struct DiscoveryLag {
    until: Instant,
    repeated: bool,
}

impl DiscoveryLag {
    pub fn begin() -> Self {
        Self { until: Instant::now() + DIFFERS_FOR, repeated: false }
    }

    /// Whether `error` may be such a difference and there is time left.
    pub fn permits(&self, error: &Error) -> bool {
        matches!(error.fault(), Some(ApiError::NotServed)) && Instant::now() < self.until
    }

    /// The same, with a pause from the second time on. The first repetition needs none: most often the version was
    /// retired some time ago, and discovery says so when it is read again.
    pub async fn explains(&mut self, error: &Error) -> bool {
        let permits = self.permits(error);
        if permits && std::mem::replace(&mut self.repeated, true) {
            sleep(PAUSE).await;
        }
        permits
    }
}

/// How the cluster serves a kind.
#[derive(Debug, Clone)]
pub(super) enum Located {
    /// It is served, possibly in another version.
    Served(Kind),
    /// No CRD and no aggregated API has it, so no object of it exists.
    Gone,
    /// It is not served now, for this reason. Its objects may exist.
    Unserved(String),
}

/// Locates the kind of an inventory's entry. A namespaced entry of a kind that is cluster-scoped now (or the other way
/// round) is gone: the scope of a CRD is immutable, so the CRD was deleted with its objects and created again.
pub(super) async fn entry(cluster: &Cluster, object: &ObjectRef) -> Result<Located, Error> {
    let located = kind(cluster, object).await?;
    Ok(match located {
        Located::Served(kind) if kind.namespaced != object.namespace.is_some() => Located::Gone,
        other => other,
    })
}

/// Locates a kind: in the object's version if that is served, else in the preferred one.
pub(super) async fn kind(cluster: &Cluster, object: &ObjectRef) -> Result<Located, Error> {
    if let Some(kind) = cluster.kind_any_version(&object.api_version, &object.kind).await? {
        return Ok(Located::Served(kind));
    }
    let group = object.group();
    // Kubernetes 1.25 removed the kind with its objects.
    if object.kind == "PodSecurityPolicy" && matches!(group, "policy" | "extensions") {
        return Ok(Located::Gone);
    }
    if let Some(group) = moved_to(group, &object.kind)
        && let Some(kind) = cluster.kind_any_version(&format!("{group}/v1"), &object.kind).await?
    {
        return Ok(Located::Served(kind));
    }
    if order::builtin(group) {
        let name = if group.is_empty() { "the core group" } else { group };
        return Ok(Located::Unserved(format!("the API server does not serve {} of {name}", object.kind)));
    }
    let same = |crd: &Value| crd["spec"]["group"] == group && crd["spec"]["names"]["kind"] == object.kind.as_str();
    match find(cluster, "apiextensions.k8s.io/v1", "CustomResourceDefinition", same).await? {
        Found::No => {}
        Found::Named(crd) => {
            return Ok(Located::Unserved(format!("CustomResourceDefinition {crd} exists, and its kind is not served")));
        }
        Found::Forbidden(reason) => return Ok(Located::Unserved(reason)),
    }
    let aggregated = |api: &Value| api["spec"]["group"] == group && api["spec"]["service"].is_object();
    Ok(match find(cluster, "apiregistration.k8s.io/v1", "APIService", aggregated).await? {
        Found::No => Located::Gone,
        Found::Named(api) => Located::Unserved(format!("the aggregated API {api} does not serve it")),
        Found::Forbidden(reason) => Located::Unserved(reason),
    })
}

/// The group that has the objects of a kind of the group `extensions`, which Kubernetes has not served since 1.22.
fn moved_to(group: &str, kind: &str) -> Option<&'static str> {
    match (group, kind) {
        ("extensions", "Ingress" | "NetworkPolicy") => Some("networking.k8s.io"),
        ("extensions", "Deployment" | "DaemonSet" | "ReplicaSet") => Some("apps"),
        _ => None,
    }
}

/// What a list shows.
enum Found {
    No,
    Named(String),
    /// The worker's role does not allow the list.
    Forbidden(String),
}

async fn find(
    cluster: &Cluster,
    api_version: &str,
    kind: &str,
    fits: impl Fn(&Value) -> bool + Send + Sync,
) -> Result<Found, Error> {
    let Some(kind) = cluster.kind(api_version, kind).await? else {
        return Ok(Found::Forbidden(format!("the API server does not list {kind}s of {api_version}")));
    };
    let mut found = Found::No;
    let listed = cluster.list(&kind, None, None, |one| {
        if fits(&one) {
            found = Found::Named(one["metadata"]["name"].as_str().unwrap_or_default().to_owned());
        }
    });
    match listed.await {
        Ok(()) => Ok(found),
        Err(Error::Request { fault: ApiError::Forbidden(reason), .. }) => Ok(Found::Forbidden(format!(
            "discovery does not list the kind, and whether it was deleted cannot be read: {reason}"
        ))),
        Err(error) => Err(error),
    }
}
