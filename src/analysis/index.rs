//! Objects by what they say: by label, by host, by reference. One mechanism for all of them, so that each can be made
//! when first asked for, and asked about without a loop over everything.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};

use super::{Kind, Resource, Snapshot};

/// A way to find objects by key. A `static`, beside those who ask; see [`super::View::lookup`].
#[derive(Debug)]
pub struct KeyIndex {
    /// Keeps its keys apart from those of other indexes.
    pub name: &'static str,
    /// Which objects are in it.
    pub kinds: &'static [Kind],
    /// The keys of an object, none or many. May depend on nothing but the object.
    pub keys: fn(&Resource, &mut Keys<'_>),
}

/// Takes the keys of one object.
pub struct Keys<'a> {
    name: &'static str,
    take: &'a mut dyn FnMut(Key),
}

impl Keys<'_> {
    /// Adds a key made of parts.
    pub fn add(&mut self, parts: &[&str]) {
        (self.take)(key(self.name, parts));
    }
}

/// What stands for an index, or another question about a snapshot, with the parts of its key. 64 bits: that two share
/// one is possible and does not happen.
pub(super) type Key = u64;

/// The key of a question.
pub(super) fn key(name: &str, parts: &[&str]) -> Key {
    // Fixed keys on purpose: the same question has the same number in each process.
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

/// All indexes that somebody has asked for. A list to which threads append without waiting for each other.
#[derive(Debug, Default)]
pub(super) struct Indexes {
    claimed: OnceLock<&'static KeyIndex>,
    built: OnceLock<Built>,
    next: OnceLock<Box<Indexes>>,
}

impl Indexes {
    /// Objects with a key, by namespace, name and cluster, kinds in the order the index names them.
    pub fn find(&self, index: &'static KeyIndex, key: Key, snapshot: &Snapshot) -> &[Arc<Resource>] {
        let mut slot = self;
        while !std::ptr::eq(*slot.claimed.get_or_init(|| index), index) {
            slot = slot.next.get_or_init(Box::default);
        }
        slot.built.get_or_init(|| build(index, snapshot)).get(&key).map_or(&[], Vec::as_slice)
    }
}

fn build(index: &KeyIndex, snapshot: &Snapshot) -> Built {
    let mut built = Built::new();
    for kind in index.kinds {
        for resource in snapshot.of(*kind) {
            index.keys_of(resource, &mut |key| {
                let found = built.entry(key).or_default();
                // An object may say the same thing twice.
                if found.last().is_none_or(|last| !Arc::ptr_eq(last, resource)) {
                    found.push(resource.clone());
                }
            });
        }
    }
    built
}
