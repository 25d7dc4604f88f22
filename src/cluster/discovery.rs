//! Discovers the kinds that a cluster serves, and caches them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use kube::core::gvk::GroupVersionKind;
use kube::discovery::{ApiCapabilities, ApiResource, Discovery, Scope, verbs};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Cluster, Error};
use crate::suggest;

/// How long the answer is used; for an unknown kind discovery is read sooner.
const FRESH: Duration = Duration::from_mins(5);

/// A burst of commands with an unknown kind asks the API server this often at most.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A kind in one version, as the cluster serves it.
#[derive(Debug, Clone)]
pub struct Kind {
    /// Its group, version and path.
    pub resource: ApiResource,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Whether `status` is written by its own endpoint only, and is dropped from what is applied.
    pub status_apart: bool,
    /// Whether its objects can be read and patched. Reviews and bindings can only be created.
    pub applicable: bool,
}

impl Kind {
    fn served((resource, capabilities): (ApiResource, ApiCapabilities)) -> Self {
        Self {
            namespaced: capabilities.scope == Scope::Namespaced,
            status_apart: capabilities.subresources.iter().any(|(sub, _)| sub.plural == "status"),
            applicable: capabilities.supports_operation(verbs::GET) && capabilities.supports_operation(verbs::PATCH),
            resource,
        }
    }

    /// The namespace of an object of this kind that has `own` in its manifest; `default` where there is no other.
    pub(super) fn place(&self, own: Option<String>, default: Option<&str>) -> Option<String> {
        self.namespaced.then(|| own.unwrap_or_else(|| default.unwrap_or("default").to_owned()))
    }

    /// The kinds that a CRD will make the cluster serve.
    pub(super) fn defined_by(crd: &Value) -> Vec<Self> {
        let text = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str);
        let (Some(group), Some(kind), Some(plural)) =
            (text("/spec/group"), text("/spec/names/kind"), text("/spec/names/plural"))
        else {
            return Vec::new();
        };
        let versions = crd.pointer("/spec/versions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let served = versions.iter().filter(|version| version["served"] == true);
        served
            .filter_map(|version| {
                let gvk = GroupVersionKind::gvk(group, version["name"].as_str()?, kind);
                Some(Self {
                    resource: ApiResource::from_gvk_with_plural(&gvk, plural),
                    namespaced: text("/spec/scope") == Some("Namespaced"),
                    status_apart: version.pointer("/subresources/status").is_some(),
                    applicable: true,
                })
            })
            .collect()
    }
}

/// All kinds by group and name, the preferred version first.
type Served = HashMap<(String, String), Vec<Kind>>;

/// The kinds that a cluster serves.
#[derive(Default)]
pub(super) struct Kinds {
    known: Mutex<Option<(Instant, Arc<Served>)>>,
}

impl Kinds {
    /// The kind in exactly this version.
    pub async fn exact(&self, cluster: &Cluster, api_version: &str, kind: &str) -> Result<Option<Kind>, Error> {
        self.find(cluster, api_version, kind, |one| one.resource.api_version == api_version).await
    }

    /// The kind in this version if it is served, else in the preferred one.
    pub async fn any(&self, cluster: &Cluster, api_version: &str, kind: &str) -> Result<Option<Kind>, Error> {
        match self.exact(cluster, api_version, kind).await? {
            Some(exact) => Ok(Some(exact)),
            None => self.find(cluster, api_version, kind, |_| true).await,
        }
    }

    /// Suggestions for a kind that is not served: the versions of the same kind, or a kind of the group with a
    /// similar name.
    pub async fn near(&self, api_version: &str, kind: &str) -> Option<String> {
        let known = self.known.lock().await;
        let (_, served) = known.as_ref()?;
        let versions: BTreeSet<_> = served
            .iter()
            .filter(|((_, other), _)| other == kind)
            .flat_map(|(_, kinds)| kinds.iter().map(|one| one.resource.api_version.as_str()))
            .collect();
        if !versions.is_empty() {
            let versions: Vec<_> = versions.into_iter().collect();
            return Some(format!("it serves {kind} in {}", versions.join(", ")));
        }
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let kinds = served.keys().filter(|(other, _)| other == group).map(|(_, kind)| kind.as_str());
        suggest::nearest(kind, kinds).map(|near| format!("did you mean {near}?"))
    }

    /// The next question asks the cluster.
    pub async fn forget(&self) {
        *self.known.lock().await = None;
    }

    /// The lock is held while asking: of many who miss a kind, one asks.
    async fn find(
        &self,
        cluster: &Cluster,
        api_version: &str,
        kind: &str,
        fits: impl Fn(&Kind) -> bool + Send,
    ) -> Result<Option<Kind>, Error> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let key = (group.to_owned(), kind.to_owned());
        let look = |served: &Served| served.get(&key).and_then(|kinds| kinds.iter().find(|one| fits(one)).cloned());
        let mut known = self.known.lock().await;
        if let Some((asked, served)) = known.as_ref()
            && asked.elapsed() < FRESH
        {
            let found = look(served);
            if found.is_some() || asked.elapsed() < ASK_AGAIN {
                return Ok(found);
            }
        }
        let served = ask(cluster).await?;
        let found = look(&served);
        *known = Some((Instant::now(), Arc::new(served)));
        Ok(found)
    }
}

/// Two requests (aggregated discovery, Kubernetes 1.26 and newer).
async fn ask(cluster: &Cluster) -> Result<Served, Error> {
    let discovery =
        cluster.call("discover", &"the API's kinds", |client| Discovery::new(client).run_aggregated()).await?;
    let mut served = Served::new();
    for group in discovery.groups() {
        let preferred = group.preferred_version_or_latest();
        let others = group.versions().filter(|version| *version != preferred);
        for version in std::iter::once(preferred).chain(others) {
            for found in group.versioned_resources(version) {
                let kind = Kind::served(found);
                served.entry((kind.resource.group.clone(), kind.resource.kind.clone())).or_default().push(kind);
            }
        }
    }
    Ok(served)
}
