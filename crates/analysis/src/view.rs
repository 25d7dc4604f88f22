//! The part of a snapshot that one rule may access: the kinds among its inputs.

use std::cell::Cell;
use std::sync::Arc;

use super::index;
use super::query::{Query, QueryRecord};
use super::{KeyIndex, Kind, Mesh, Resource, Snapshot};

/// A snapshot during one call of a rule.
#[derive(Debug)]
pub struct View<'a> {
    snapshot: &'a Snapshot,
    declared: &'static [Kind],
    record: Option<&'a QueryRecord>,
    /// Position of the Namespace of the last lookup.
    namespace: Cell<Option<usize>>,
}

impl<'a> View<'a> {
    pub(super) const fn new(snapshot: &'a Snapshot, declared: &'static [Kind]) -> Self {
        Self { snapshot, declared, record: None, namespace: Cell::new(None) }
    }

    /// A view that records its queries, for incremental analysis.
    pub(super) const fn recorded(snapshot: &'a Snapshot, declared: &'static [Kind], record: &'a QueryRecord) -> Self {
        Self { snapshot, declared, record: Some(record), namespace: Cell::new(None) }
    }

    fn record(&self, kind: Kind, query: Query<'_>) {
        self.check(kind);
        self.note(query);
    }

    fn note(&self, query: Query<'_>) {
        if let Some(record) = self.record {
            record.note(query);
        }
    }

    fn check(&self, kind: Kind) {
        debug_assert!(self.declared.contains(&kind), "the rule uses {kind}, which is not among the inputs");
    }

    /// All objects of a kind, sorted by namespace, name and cluster.
    #[must_use]
    pub fn all(&self, kind: Kind) -> &'a [Arc<Resource>] {
        self.record(kind, Query::All(kind));
        self.snapshot.of(kind)
    }

    /// Objects of a kind in one namespace.
    #[must_use]
    pub fn in_namespace(&self, kind: Kind, namespace: &str) -> &'a [Arc<Resource>] {
        self.record(kind, Query::In(kind, namespace));
        self.snapshot.in_namespace(kind, namespace)
    }

    /// The object with this name, in the first cluster that has it. The namespace is empty for cluster-scoped kinds.
    #[must_use]
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&'a Resource> {
        self.named(kind, namespace, name).first().map(|resource| &**resource)
    }

    /// Objects with this name, one for each cluster.
    #[must_use]
    pub fn named(&self, kind: Kind, namespace: &str, name: &str) -> &'a [Arc<Resource>] {
        self.record(kind, Query::Named(kind, namespace, name));
        self.snapshot.named(kind, namespace, name)
    }

    /// Namespace with this name in a cluster. Objects are sorted by namespace, so it is usually that of the last call.
    pub(super) fn namespace(&self, name: &str, cluster: &str) -> Option<&'a Resource> {
        let all = self.snapshot.of(Kind::Namespace);
        let order = |it: &Arc<Resource>| (it.name.as_str(), &*it.cluster).cmp(&(name, cluster));
        if let Some(last) = self.namespace.get().and_then(|at| all.get(at))
            && order(last).is_eq()
        {
            return Some(last);
        }
        self.record(Kind::Namespace, Query::Named(Kind::Namespace, "", name));
        let at = all.binary_search_by(order).ok()?;
        self.namespace.set(Some(at));
        Some(&all[at])
    }

    /// Whether an object of a kind exists. Only the first object added or the last one removed changes the result, so
    /// the call is repeated less often than with [`View::all`]. The same holds for the other three `has` methods.
    #[must_use]
    pub fn has(&self, kind: Kind) -> bool {
        self.record(kind, Query::Has(kind));
        !self.snapshot.of(kind).is_empty()
    }

    /// Whether one exists in a namespace.
    #[must_use]
    pub fn has_in(&self, kind: Kind, namespace: &str) -> bool {
        self.record(kind, Query::HasIn(kind, namespace));
        !self.snapshot.in_namespace(kind, namespace).is_empty()
    }

    /// Whether one with this name exists.
    #[must_use]
    pub fn has_named(&self, kind: Kind, namespace: &str, name: &str) -> bool {
        self.record(kind, Query::HasNamed(kind, namespace, name));
        !self.snapshot.named(kind, namespace, name).is_empty()
    }

    /// Whether one with a key of an index exists.
    #[must_use]
    pub fn has_key(&self, index: &'static KeyIndex, key: &[&str]) -> bool {
        self.note(Query::HasKeyed(index::key(index.name, key)));
        !self.peek(index, key).is_empty()
    }

    /// Objects with a key of an index, sorted by namespace, name and cluster.
    #[must_use]
    pub fn lookup(&self, index: &'static KeyIndex, key: &[&str]) -> &'a [Arc<Resource>] {
        self.note(Query::Keyed(index::key(index.name, key)));
        self.peek(index, key)
    }

    /// As [`View::lookup`], without recording the query: for results that do not affect findings.
    pub(super) fn peek(&self, index: &'static KeyIndex, key: &[&str]) -> &'a [Arc<Resource>] {
        index.kinds.iter().for_each(|kind| self.check(*kind));
        self.snapshot.keyed(index, key)
    }

    /// As [`View::lookup`], for the analysis' own objects, which no rule has to declare.
    pub(super) fn lookup_generated(&self, index: &'static KeyIndex, key: &[&str]) -> &'a [Arc<Resource>] {
        self.note(Query::Keyed(index::key(index.name, key)));
        self.snapshot.keyed(index, key)
    }

    /// The same as [`View::has_key`], for the analysis' own evidence.
    #[must_use]
    pub(super) fn has_generated_key(&self, index: &'static KeyIndex, key: &[&str]) -> bool {
        self.note(Query::HasKeyed(index::key(index.name, key)));
        !self.snapshot.keyed(index, key).is_empty()
    }

    /// Whether the objects are all that the cluster has, as the caller states.
    #[must_use]
    pub const fn is_stated_whole(&self) -> bool {
        self.snapshot.is_stated_whole()
    }

    /// Settings of the mesh.
    #[must_use]
    pub fn mesh(&self) -> &'a Mesh {
        self.record(Kind::MeshConfig, Query::Mesh);
        self.snapshot.mesh()
    }

    /// Root namespace, the setting that most rules use.
    #[must_use]
    pub fn root_namespace(&self) -> &'a str {
        self.record(Kind::MeshConfig, Query::RootNamespace);
        self.snapshot.mesh().root_namespace()
    }

    /// Current time, Unix seconds.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.note(Query::Now);
        self.snapshot.now()
    }
}
