//! What one rule may see of a snapshot: the kinds it has declared.

use std::sync::Arc;

use super::{KeyIndex, Kind, Mesh, Resource, Snapshot};

/// A snapshot as one call of a rule sees it.
#[derive(Debug)]
pub struct View<'a> {
    snapshot: &'a Snapshot,
    declared: &'static [Kind],
}

impl<'a> View<'a> {
    pub(super) const fn new(snapshot: &'a Snapshot, declared: &'static [Kind]) -> Self {
        Self { snapshot, declared }
    }

    fn asked(&self, kind: Kind) {
        debug_assert!(self.declared.contains(&kind), "the rule reads {kind} and does not say so");
    }

    /// All objects of a kind, by namespace, name and cluster.
    #[must_use]
    pub fn all(&self, kind: Kind) -> &'a [Arc<Resource>] {
        self.asked(kind);
        self.snapshot.of(kind)
    }

    /// Those of one namespace.
    #[must_use]
    pub fn in_namespace(&self, kind: Kind, namespace: &str) -> &'a [Arc<Resource>] {
        self.asked(kind);
        self.snapshot.in_namespace(kind, namespace)
    }

    /// The one of this name (of the first cluster that has it). The namespace is empty for kinds of the whole cluster.
    #[must_use]
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&'a Resource> {
        self.named(kind, namespace, name).first().map(|resource| &**resource)
    }

    /// Those of this name, one for each cluster.
    #[must_use]
    pub fn named(&self, kind: Kind, namespace: &str, name: &str) -> &'a [Arc<Resource>] {
        self.asked(kind);
        self.snapshot.named(kind, namespace, name)
    }

    /// Those with a key of an index, by namespace, name and cluster.
    #[must_use]
    pub fn lookup(&self, index: &'static KeyIndex, key: &[&str]) -> &'a [Arc<Resource>] {
        self.peek(index, key)
    }

    /// As [`View::lookup`], for an answer that does not decide anything.
    pub(super) fn peek(&self, index: &'static KeyIndex, key: &[&str]) -> &'a [Arc<Resource>] {
        index.kinds.iter().for_each(|kind| self.asked(*kind));
        self.snapshot.keyed(index, key)
    }

    /// The mesh's settings.
    #[must_use]
    pub fn mesh(&self) -> &'a Mesh {
        self.asked(Kind::MeshConfig);
        self.snapshot.mesh()
    }

    /// Now, seconds since 1970.
    #[must_use]
    pub const fn now(&self) -> i64 {
        self.snapshot.now()
    }
}
