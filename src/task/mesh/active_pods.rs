//! Filters out pods that are terminating or whose controller has been deleted. Such a pod does not need its control plane
//! any more. After a Deployment is deleted, its pods get a deletion timestamp only when the garbage collector reaches them,
//! which takes seconds.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cluster::{ApiError, Cluster, Error};

/// Kinds of owners that are read: those of pods, their owners, and kinds of operators.
const KINDS: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    api_version: String,
    name: String,
}

#[derive(Debug)]
struct Owner {
    kind: Kind,
    uid: String,
}

/// Of each kind that may be read: who is there, and who owns them.
type Owners = BTreeMap<Kind, Option<BTreeMap<String, Option<Owner>>>>;

/// The pods that are not terminating and whose owners all exist. Owners that may not be listed, and kinds that the
/// cluster does not serve, count as existing.
pub(super) async fn retain_active(cluster: &Cluster, pods: Vec<Value>) -> Result<Vec<Value>, Error> {
    let mut kept: Vec<_> = pods.into_iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).collect();
    let mut owners = Owners::new();
    let mut asked: Vec<_> = kept.iter().filter_map(owner).map(|owner| owner.kind).collect();
    while let Some(kind) = asked.pop() {
        if owners.len() < KINDS && !owners.contains_key(&kind) {
            let found = read(cluster, &kind).await?;
            let above = found.iter().flat_map(BTreeMap::values).flatten();
            asked.extend(above.map(|owner| owner.kind.clone()));
            owners.insert(kind, found);
        }
    }
    kept.retain(|pod| is_owned(pod, &owners));
    Ok(kept)
}

/// The owner that creates another object when this one is deleted.
fn owner(object: &Value) -> Option<Owner> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    let owner = owners.iter().find(|owner| owner["controller"] == true)?;
    let text = |key: &str| owner[key].as_str().unwrap_or_default().to_owned();
    Some(Owner { kind: Kind { api_version: text("apiVersion"), name: text("kind") }, uid: text("uid") })
}

async fn read(cluster: &Cluster, kind: &Kind) -> Result<Option<BTreeMap<String, Option<Owner>>>, Error> {
    let Some(known) = cluster.kind(&kind.api_version, &kind.name).await? else { return Ok(None) };
    let mut found = BTreeMap::new();
    let each = |one: Value| {
        found.insert(one["metadata"]["uid"].as_str().unwrap_or_default().to_owned(), owner(&one));
    };
    match cluster.list(&known, None, None, each).await {
        Err(Error::Request { fault: ApiError::Forbidden(_), .. }) => Ok(None),
        listed => listed.map(|()| Some(found)),
    }
}

/// Whether all above it are there.
fn is_owned(object: &Value, owners: &Owners) -> bool {
    let first = owner(object);
    let mut next = first.as_ref();
    // Nothing keeps users from owners in a circle.
    for _ in 0..=KINDS {
        let Some(owner) = next else { break };
        let Some(Some(found)) = owners.get(&owner.kind) else { break };
        match found.get(&owner.uid) {
            Some(above) => next = above.as_ref(),
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn owned_by(kind: &str, uid: &str) -> Value {
        let owner = json!({"apiVersion": "apps/v1", "kind": kind, "uid": uid, "controller": true});
        json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Node", "uid": "no controller"}, owner]}})
    }

    fn known(kind: &str, found: Vec<(&str, Value)>) -> (Kind, Option<BTreeMap<String, Option<Owner>>>) {
        let found = found.into_iter().map(|(uid, object)| (uid.to_owned(), owner(&object))).collect();
        (Kind { api_version: "apps/v1".to_owned(), name: kind.to_owned() }, Some(found))
    }

    #[test]
    fn pod_is_active_while_all_its_owners_exist() {
        let free = json!({"metadata": {}});
        let pod = owned_by("ReplicaSet", "set");
        let set = owned_by("Deployment", "web");
        let of = |sets: Vec<(&str, Value)>, deployments: Vec<(&str, Value)>| {
            is_owned(&pod, &Owners::from([known("ReplicaSet", sets), known("Deployment", deployments)]))
        };
        assert!(of(vec![("set", set.clone())], vec![("web", free.clone())]));
        assert!(!of(vec![("set", set.clone())], vec![("another", free.clone())]), "its Deployment is gone");
        assert!(!of(vec![("another", set.clone())], vec![("web", free.clone())]), "its ReplicaSet is gone");
        assert!(is_owned(&free, &Owners::new()), "a pod without an owner");
    }

    #[test]
    fn unknown_owners_count_as_existing() {
        let pod = owned_by("Rollout", "a");
        assert!(is_owned(&pod, &Owners::new()));
        let forbidden = (Kind { api_version: "apps/v1".to_owned(), name: "Rollout".to_owned() }, None);
        assert!(is_owned(&pod, &Owners::from([forbidden])));
        let circle = known("Rollout", vec![("a", owned_by("Rollout", "b")), ("b", owned_by("Rollout", "a"))]);
        assert!(is_owned(&pod, &Owners::from([circle])));
    }
}
