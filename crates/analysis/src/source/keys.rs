//! Finds the keys of a mapping that is being read: by comparison while there are few, by hash once there are many, so
//! that a mapping with many keys takes linear time. Pure.

use std::collections::HashMap;

use compact_str::CompactString;

use super::super::Value;

/// Up to this many keys comparing is faster than hashing.
const FEW: usize = 32;

/// The places of the keys in the entries of one mapping.
#[derive(Debug, Default)]
pub struct Keys(Option<HashMap<CompactString, usize>>);

impl Keys {
    /// Adds an entry, or replaces the value of an earlier one with the same key: the later value is effective, as with
    /// `kubectl`. True if the key was there.
    pub fn put(
        &mut self,
        entries: &mut Vec<(CompactString, Value)>,
        first: usize,
        key: CompactString,
        node: Value,
    ) -> bool {
        if let Some(at) = self.find(entries, first, &key) {
            entries[at].1 = node;
            true
        } else {
            self.push(entries, key, node);
            false
        }
    }

    /// Adds an entry unless its key is there.
    pub fn put_new(&mut self, entries: &mut Vec<(CompactString, Value)>, key: CompactString, node: Value) {
        if self.find(entries, 0, &key).is_none() {
            self.push(entries, key, node);
        }
    }

    /// Where an entry with this key is, among those from `first` on.
    pub fn find(&mut self, entries: &[(CompactString, Value)], first: usize, key: &str) -> Option<usize> {
        let own = entries.get(first..)?;
        if own.len() <= FEW {
            return own.iter().position(|(name, _)| name == key).map(|at| first + at);
        }
        let places = self
            .0
            .get_or_insert_with(|| own.iter().enumerate().map(|(at, (name, _))| (name.clone(), first + at)).collect());
        places.get(key).copied()
    }

    /// Adds an entry with a new key.
    pub fn push(&mut self, entries: &mut Vec<(CompactString, Value)>, key: CompactString, node: Value) {
        if let Some(places) = &mut self.0 {
            places.insert(key.clone(), entries.len());
        }
        entries.push((key, node));
    }
}
