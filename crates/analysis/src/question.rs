//! Queries that a rule can make on a snapshot, as numbers. They determine which rule calls a change invalidates.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::Kind;
use super::index::Key;

/// A query. The result of those that begin with `Has` is a boolean: a change of an object that existed before does not
/// alter it.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) enum Question<'a> {
    /// All objects of a kind.
    All(Kind),
    /// Objects of a kind in a namespace.
    In(Kind, &'a str),
    /// Objects with a name.
    Named(Kind, &'a str, &'a str),
    /// Objects with a key of an index.
    Keyed(Key),
    /// Whether an object of a kind exists.
    Has(Kind),
    /// Whether one exists in a namespace.
    HasIn(Kind, &'a str),
    /// Whether one with a name exists.
    HasNamed(Kind, &'a str, &'a str),
    /// Whether one with a key of an index exists.
    HasKeyed(Key),
    /// Any field of `MeshConfig`.
    Mesh,
    /// Only the root namespace of `MeshConfig`.
    RootNamespace,
    /// The current time.
    Now,
}

/// Number of a query: a 64-bit hash. A collision only causes an unnecessary call.
pub(super) type Asked = u64;

impl Question<'_> {
    pub(super) fn number(self) -> Asked {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// Queries that one call of a rule has made.
#[derive(Debug, Default)]
pub(super) struct Record(RefCell<Vec<Asked>>);

impl Record {
    pub(super) fn note(&self, question: Question<'_>) {
        let number = question.number();
        let mut asked = self.0.borrow_mut();
        // Loops repeat the same query.
        if asked.last() != Some(&number) {
            asked.push(number);
        }
    }

    /// Distinct queries, sorted.
    pub(super) fn into_sorted(self) -> Vec<Asked> {
        let mut asked = self.0.into_inner();
        asked.sort_unstable();
        asked.dedup();
        asked
    }
}
