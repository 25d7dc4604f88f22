//! Queries that a rule can make on a snapshot, as numbers. They determine which rule calls a change invalidates.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::Kind;
use super::index::Key;

/// A query. The result of those that begin with `Has` is a boolean: a change of an object that existed before does not
/// alter it.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) enum Query<'a> {
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
pub(super) type QueryId = u64;

impl Query<'_> {
    pub(super) fn number(self) -> QueryId {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// Queries that one call of a rule has made.
#[derive(Debug, Default)]
pub(super) struct QueryRecord(RefCell<Vec<QueryId>>);

impl QueryRecord {
    pub(super) fn note(&self, query: Query<'_>) {
        let number = query.number();
        let mut queries = self.0.borrow_mut();
        // Loops repeat the same query.
        if queries.last() != Some(&number) {
            queries.push(number);
        }
    }

    /// Distinct queries, sorted.
    pub(super) fn into_sorted(self) -> Vec<QueryId> {
        let mut queries = self.0.into_inner();
        queries.sort_unstable();
        queries.dedup();
        queries
    }
}
