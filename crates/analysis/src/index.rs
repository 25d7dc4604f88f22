//! Indexes of objects by key, such as label, host or reference. An index is built on first use.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};

use super::query::Query;
use super::{Kind, Resource, Snapshot};

/// Declares an index. A `static` beside the rules that use it; see [`super::View::lookup`].
#[derive(Debug)]
pub struct KeyIndex {
    /// Unique name; separates its keys from those of other indexes.
    pub name: &'static str,
    /// Kinds of the indexed objects.
    pub kinds: &'static [Kind],
    /// Computes the keys of an object, zero or more. Must depend only on the object.
    pub keys: fn(&Resource, &mut Keys<'_>),
}

/// Receives the keys of one object.
pub struct Keys<'a> {
    name: &'static str,
    take: &'a mut dyn FnMut(Key),
}

impl Keys<'_> {
    /// Adds a key that consists of several parts.
    pub fn add(&mut self, parts: &[&str]) {
        (self.take)(key(self.name, parts));
    }
}

/// Hash of an index, or of another query on a snapshot, with the parts of its key: 64 bits. Collisions are possible but
/// not expected.
pub(super) type Key = u64;

/// Hash of a query.
pub(super) fn key(name: &str, parts: &[&str]) -> Key {
    // Fixed hash keys, so that the same query has the same number in each process.
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    parts.hash(&mut hasher);
    hasher.finish()
}

impl KeyIndex {
    fn keys_of(&self, resource: &Resource, take: &mut dyn FnMut(Key)) {
        (self.keys)(resource, &mut Keys { name: self.name, take });
    }
}

type Built = HashMap<Key, Vec<Arc<Resource>>>;

/// All indexes in use. Threads append to the list without locks.
#[derive(Debug, Default)]
pub(super) struct Indexes {
    claimed: OnceLock<&'static KeyIndex>,
    built: OnceLock<Built>,
    next: OnceLock<Box<Indexes>>,
}

impl Indexes {
    /// Objects with a key, sorted by namespace, name and cluster; kinds in the order of the declaration.
    pub fn find(&self, index: &'static KeyIndex, key: Key, snapshot: &Snapshot) -> &[Arc<Resource>] {
        let mut slot = self;
        while !std::ptr::eq(*slot.claimed.get_or_init(|| index), index) {
            slot = slot.next.get_or_init(Box::default);
        }
        slot.built.get_or_init(|| build(index, snapshot)).get(&key).map_or(&[], Vec::as_slice)
    }

    /// Replaces, adds or removes an object in each index. Reports the queries whose result has changed.
    pub fn upsert(
        &mut self,
        old: Option<&Arc<Resource>>,
        new: Option<&Arc<Resource>>,
        invalidated: &mut dyn FnMut(Query<'_>),
    ) {
        let Some(kind) = old.or(new).map(|resource| resource.kind) else { return };
        let mut slot = Some(self);
        while let Some(this) = slot {
            if let (Some(index), Some(built)) = (this.claimed.get(), this.built.get_mut())
                && index.kinds.contains(&kind)
            {
                upsert(index, built, old, new, invalidated);
            }
            slot = this.next.get_mut().map(|next| &mut **next);
        }
    }
}

fn upsert(
    index: &KeyIndex,
    built: &mut Built,
    old: Option<&Arc<Resource>>,
    new: Option<&Arc<Resource>>,
    invalidated: &mut dyn FnMut(Query<'_>),
) {
    let keys = |resource: Option<&Arc<Resource>>| {
        let mut keys = Vec::new();
        if let Some(resource) = resource {
            index.keys_of(resource, &mut |key| keys.push(key));
        }
        keys.sort_unstable();
        keys.dedup();
        keys
    };
    let (before, after) = (keys(old), keys(new));
    let mut hold = |key: Key, resource: &Arc<Resource>, holds: bool| {
        let found = built.entry(key).or_default();
        let was_empty = found.is_empty();
        match (found.binary_search_by(|other| index.place(other).cmp(&index.place(resource))), holds) {
            (Ok(at), true) => found[at] = resource.clone(),
            (Err(at), true) => found.insert(at, resource.clone()),
            (Ok(at), false) => drop(found.remove(at)),
            (Err(_), false) => {}
        }
        let is_empty = found.is_empty();
        if is_empty {
            built.remove(&key);
        }
        invalidated(Query::Keyed(key));
        if was_empty != is_empty {
            invalidated(Query::HasKeyed(key));
        }
    };
    if let Some(old) = old {
        for key in before.iter().filter(|key| after.binary_search(key).is_err()) {
            hold(*key, old, false);
        }
    }
    if let Some(new) = new {
        for key in after {
            hold(key, new, true);
        }
    }
}

impl KeyIndex {
    /// Sort key of the objects with one key.
    fn place<'a>(&self, resource: &'a Resource) -> (Option<usize>, &'a str, &'a str, &'a str) {
        let rank = self.kinds.iter().position(|kind| *kind == resource.kind);
        (rank, &resource.namespace, &resource.name, &resource.cluster)
    }
}

fn build(index: &KeyIndex, snapshot: &Snapshot) -> Built {
    let mut built = Built::new();
    for kind in index.kinds {
        for resource in snapshot.of(*kind) {
            index.keys_of(resource, &mut |key| {
                let found = built.entry(key).or_default();
                // An object may yield the same key twice.
                if found.last().is_none_or(|last| !Arc::ptr_eq(last, resource)) {
                    found.push(resource.clone());
                }
            });
        }
    }
    built
}
