//! What one rule may see of a snapshot: the kinds it has declared.

use std::cell::Cell;
use std::sync::Arc;

use super::index;
use super::question::{Question, Record};
use super::{KeyIndex, Kind, Mesh, Resource, Snapshot};

/// A snapshot as one call of a rule sees it.
#[derive(Debug)]
pub struct View<'a> {
    snapshot: &'a Snapshot,
    declared: &'static [Kind],
    record: Option<&'a Record>,
    /// Where the Namespace stands that was looked up last.
    namespace: Cell<Option<usize>>,
}

impl<'a> View<'a> {
    pub(super) const fn new(snapshot: &'a Snapshot, declared: &'static [Kind]) -> Self {
        Self { snapshot, declared, record: None, namespace: Cell::new(None) }
    }

    /// One that notes what is asked, so that it is known which changes alter the answers.
    pub(super) const fn recorded(snapshot: &'a Snapshot, declared: &'static [Kind], record: &'a Record) -> Self {
        Self { snapshot, declared, record: Some(record), namespace: Cell::new(None) }
    }

    fn asked(&self, kind: Kind, question: Question<'_>) {
        self.check(kind);
        self.note(question);
    }

    fn note(&self, question: Question<'_>) {
        if let Some(record) = self.record {
            record.note(question);
        }
    }

    fn check(&self, kind: Kind) {
        debug_assert!(self.declared.contains(&kind), "the rule reads {kind} and does not say so");
    }

    /// All objects of a kind, by namespace, name and cluster.
    #[must_use]
    pub fn all(&self, kind: Kind) -> &'a [Arc<Resource>] {
        self.asked(kind, Question::All(kind));
        self.snapshot.of(kind)
    }

    /// Those of one namespace.
    #[must_use]
    pub fn in_namespace(&self, kind: Kind, namespace: &str) -> &'a [Arc<Resource>] {
        self.asked(kind, Question::In(kind, namespace));
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
        self.asked(kind, Question::Named(kind, namespace, name));
        self.snapshot.named(kind, namespace, name)
    }

    /// The Namespace of a name in a cluster. Objects come by namespace, so that mostly it is the one of the last time.
    pub(super) fn namespace(&self, name: &str, cluster: &str) -> Option<&'a Resource> {
        let all = self.snapshot.of(Kind::Namespace);
        let order = |it: &Arc<Resource>| (it.name.as_str(), &*it.cluster).cmp(&(name, cluster));
        if let Some(last) = self.namespace.get().and_then(|at| all.get(at))
            && order(last).is_eq()
        {
            return Some(last);
        }
        self.asked(Kind::Namespace, Question::Named(Kind::Namespace, "", name));
        let at = all.binary_search_by(order).ok()?;
        self.namespace.set(Some(at));
        Some(&all[at])
    }

    /// Whether there is any of a kind. Cheaper after a change than [`View::all`], as are the other three for what they
    /// stand for: only the first that comes and the last that goes alter the answer.
    #[must_use]
    pub fn has(&self, kind: Kind) -> bool {
        self.asked(kind, Question::Has(kind));
        !self.snapshot.of(kind).is_empty()
    }

    /// Whether there is any in a namespace.
    #[must_use]
    pub fn has_in(&self, kind: Kind, namespace: &str) -> bool {
        self.asked(kind, Question::HasIn(kind, namespace));
        !self.snapshot.in_namespace(kind, namespace).is_empty()
    }

    /// Whether there is any of this name.
    #[must_use]
    pub fn has_named(&self, kind: Kind, namespace: &str, name: &str) -> bool {
        self.asked(kind, Question::HasNamed(kind, namespace, name));
        !self.snapshot.named(kind, namespace, name).is_empty()
    }

    /// Whether there is any with a key of an index.
    #[must_use]
    pub fn has_key(&self, index: &'static KeyIndex, key: &[&str]) -> bool {
        self.note(Question::HasKeyed(index::key(index.name, key)));
        !self.peek(index, key).is_empty()
    }

    /// Those with a key of an index, by namespace, name and cluster.
    #[must_use]
    pub fn lookup(&self, index: &'static KeyIndex, key: &[&str]) -> &'a [Arc<Resource>] {
        self.note(Question::Keyed(index::key(index.name, key)));
        self.peek(index, key)
    }

    /// As [`View::lookup`], for an answer that does not decide anything.
    pub(super) fn peek(&self, index: &'static KeyIndex, key: &[&str]) -> &'a [Arc<Resource>] {
        index.kinds.iter().for_each(|kind| self.check(*kind));
        self.snapshot.keyed(index, key)
    }

    /// As [`View::lookup`], for the analysis' own objects, which no rule has to declare.
    pub(super) fn lookup_generated(&self, index: &'static KeyIndex, key: &[&str]) -> &'a [Arc<Resource>] {
        self.note(Question::Keyed(index::key(index.name, key)));
        self.snapshot.keyed(index, key)
    }

    /// The same as [`View::has_key`], for the analysis' own evidence.
    #[must_use]
    pub(super) fn has_generated_key(&self, index: &'static KeyIndex, key: &[&str]) -> bool {
        self.note(Question::HasKeyed(index::key(index.name, key)));
        !self.snapshot.keyed(index, key).is_empty()
    }

    /// Whether the objects are all that the cluster has, as whoever gave them says.
    #[must_use]
    pub const fn is_stated_whole(&self) -> bool {
        self.snapshot.is_stated_whole()
    }

    /// The mesh's settings.
    #[must_use]
    pub fn mesh(&self) -> &'a Mesh {
        self.asked(Kind::MeshConfig, Question::Mesh);
        self.snapshot.mesh()
    }

    /// Where policies for the whole mesh live: the one of its settings that most rules need.
    #[must_use]
    pub fn root_namespace(&self) -> &'a str {
        self.asked(Kind::MeshConfig, Question::RootNamespace);
        self.snapshot.mesh().root_namespace()
    }

    /// Now, seconds since 1970.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.note(Question::Now);
        self.snapshot.now()
    }
}
