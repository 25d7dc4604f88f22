//! Reads many objects with few requests: a list for each kind and namespace, page by page, keeping only what was asked
//! for. Judges nothing.

use std::collections::{BTreeMap, HashMap};

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use super::discovery::Kind;
use super::{Cluster, Error, ObjectRef};

/// Up to this number, objects of a kind and namespace are read with single requests; a list may be much longer.
const FEW: usize = 3;

/// Reads at once.
const PARALLEL: usize = 8;

/// One kind in one namespace, with the names wanted of it and their numbers.
struct Group {
    kind: Kind,
    sample: ObjectRef,
    names: HashMap<String, usize>,
}

/// The live state of `objects`, by their place in the list; what does not exist is left out.
pub(super) async fn read(
    cluster: &Cluster,
    objects: impl IntoIterator<Item = (usize, Kind, ObjectRef)>,
) -> Result<Vec<(usize, Value)>, Error> {
    let mut groups = BTreeMap::new();
    for (number, kind, object) in objects {
        let key = (object.api_version.clone(), object.kind.clone(), object.namespace.clone());
        let name = object.name.clone();
        let group = groups.entry(key).or_insert_with(|| Group { kind, sample: object, names: HashMap::new() });
        group.names.insert(name, number);
    }
    let reads: Vec<_> = groups.into_values().map(|group| read_group(cluster, group)).collect();
    let found: Vec<Vec<_>> = stream::iter(reads).buffer_unordered(PARALLEL).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

async fn read_group(cluster: &Cluster, group: Group) -> Result<Vec<(usize, Value)>, Error> {
    let mut found = Vec::with_capacity(group.names.len());
    if group.names.len() <= FEW {
        for (name, number) in group.names {
            let object = ObjectRef { name, ..group.sample.clone() };
            found.extend(cluster.get_as(&group.kind, &object).await?.map(|live| (number, live)));
        }
    } else {
        let keep = |live: Value| {
            if let Some(number) = live["metadata"]["name"].as_str().and_then(|name| group.names.get(name)) {
                found.push((*number, live));
            }
        };
        cluster.list(&group.kind, group.sample.namespace.as_deref(), None, keep).await?;
    }
    Ok(found)
}
