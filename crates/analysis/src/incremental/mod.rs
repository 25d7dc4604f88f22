//! Incremental analysis: updates the findings when objects change, without a full run. Pure like the rest of the crate.
//!
//! # How it works
//!
//! A *call* is a rule together with its scope: an object, a namespace, or the whole snapshot ([`Check`](super::Check)).
//! For each call the findings are stored, and the queries (`query.rs`) that it made on its [`View`](super::View):
//! all objects of a kind, those of a namespace, those with a name, those with a key of an index, the settings of the
//! mesh, the time. A rule can access objects only through its view, so a call depends on nothing else besides its
//! scope.
//!
//! A change of an object changes the results of a few queries: those for its kind, its namespace, its name, and its
//! keys in each index, before and after the change. Only the calls that made one of these queries are repeated. The
//! result of an existence query ([`View::has`](super::View::has) and similar) changes only when the first object
//! appears or the last one disappears. Rules use such queries where possible, because nearly every rule checks how
//! complete the objects are.
//!
//! | a rule that is called | depends on | is called again |
//! | --- | --- | --- |
//! | for each object | the object and its lookups | when one of them changes |
//! | for each namespace | its lookups, mostly in that namespace | when an object there changes |
//! | once | mostly whole kinds | when any object of these kinds changes; there are few such rules |
//!
//! Findings are sorted, deduplicated and fingerprinted for each object as [`run`](super::run()) does for all of them.
//! The result is the same, because order, equality and fingerprint start with the object. `tests/it_prop/incremental.rs`
//! checks that the stored findings equal those of a full run after any sequence of changes.

mod calls;
mod published;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::query::{Query, QueryId};
use super::snapshot::Exchange;
use super::{Finding, Kind, ObjectRef, Resource, Rule, Snapshot, Value, mesh};
use calls::Calls;
use published::Published;

/// A change of an object.
#[derive(Debug, Clone)]
pub enum Change {
    /// The object was added or modified.
    Put(Box<Resource>),
    /// The object was deleted.
    Delete(ObjectRef),
}

/// Differences after changes, for an observer that maintains a list of findings. Sorted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Difference {
    /// New findings, and those with a known fingerprint in which another field has changed, such as the level.
    pub found: Vec<Finding>,
    /// Findings that no longer apply.
    pub resolved: Vec<Finding>,
    /// Number of rule calls.
    pub calls: usize,
}

/// Objects and the current findings about them. The settings of the mesh come from the `ConfigMap` `istio`.
#[derive(Debug)]
pub struct Incremental {
    snapshot: Snapshot,
    calls: Calls,
    published: Published,
}

impl Incremental {
    /// Analyzes all objects once.
    #[must_use]
    pub fn new(rules: &[&'static Rule], resources: Vec<Resource>, now: i64) -> Self {
        let settings = mesh::settings_in(&resources, now);
        let snapshot = Snapshot::new(resources, settings);
        let mut this = Self { snapshot, calls: Calls::new(rules), published: Published::default() };
        let mut due = BTreeSet::new();
        for kind in Kind::ALL {
            for resource in this.snapshot.of(*kind) {
                this.calls.add(resource, &mut due);
            }
            for namespace in this.snapshot.namespaces_with(&[*kind]) {
                this.calls.track_namespace(*kind, &namespace, &this.snapshot, &mut due, &mut this.published);
            }
        }
        this.calls.add_whole(&mut due);
        this.calls.make(&due, &this.snapshot, &mut this.published);
        this.published.settle();
        this
    }

    /// Applies changes, those of one object in their order, and repeats the affected calls.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = Change>) -> Difference {
        let mut queries: BTreeSet<QueryId> = BTreeSet::new();
        let mut due = BTreeSet::new();
        let mut is_mesh_touched = false;
        for change in changes {
            let (object, new) = match change {
                Change::Put(resource) => (ObjectRef::from(&*resource), Some(Arc::new(*resource))),
                Change::Delete(object) => (object, None),
            };
            is_mesh_touched |=
                object.kind == Kind::ConfigMap && object.namespace == mesh::ISTIO_NAMESPACE && object.name == "istio";
            self.upsert(&object, new.as_ref(), &mut queries, &mut due);
        }
        if is_mesh_touched {
            self.read_settings(&mut queries, &mut due);
        }
        self.rerun(&queries, due)
    }

    /// Sets the current time; certificates may expire.
    pub fn set_now(&mut self, now: i64) -> Difference {
        let mut queries = BTreeSet::new();
        self.snapshot.set_now(now, &mut |query| {
            queries.insert(query.number());
        });
        self.rerun(&queries, BTreeSet::new())
    }

    /// All findings, in the order of a full run.
    #[must_use]
    pub fn findings(&self) -> Vec<&Finding> {
        self.published.all()
    }

    /// Current objects.
    #[must_use]
    pub const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    fn rerun(&mut self, queries: &BTreeSet<QueryId>, mut due: BTreeSet<calls::Id>) -> Difference {
        for number in queries {
            self.calls.callers_of(*number, &mut due);
        }
        let calls = self.calls.make(&due, &self.snapshot, &mut self.published);
        let (found, resolved) = self.published.settle();
        Difference { found, resolved, calls }
    }

    fn upsert(
        &mut self,
        object: &ObjectRef,
        new: Option<&Arc<Resource>>,
        queries: &mut BTreeSet<QueryId>,
        due: &mut BTreeSet<calls::Id>,
    ) {
        let mut invalidated = |query: Query<'_>| {
            queries.insert(query.number());
        };
        match (self.snapshot.upsert(object, new, &mut invalidated), new) {
            (Exchange::Nothing, _) => return,
            (Exchange::Changed | Exchange::Removed, Some(new)) => self.calls.invalidate(object, new, due),
            (Exchange::Added, Some(new)) => self.calls.add(new, due),
            (_, None) => self.calls.remove(object, due, &mut self.published),
        }
        let namespace = if object.kind == Kind::Namespace { &object.name } else { &object.namespace };
        self.calls.track_namespace(object.kind, namespace, &self.snapshot, due, &mut self.published);
    }

    /// Settings of the mesh in the current objects.
    fn read_settings(&mut self, queries: &mut BTreeSet<QueryId>, due: &mut BTreeSet<calls::Id>) {
        let map = self.snapshot.named(Kind::ConfigMap, mesh::ISTIO_NAMESPACE, "istio").first();
        let settings = mesh::settings_of(map.map(|map| &**map), self.snapshot.now());
        let mut invalidated = |query: Query<'_>| {
            queries.insert(query.number());
        };
        let config = settings.mesh_config.unwrap_or(Value::Null);
        let config = self.snapshot.set_mesh(&config, &mut invalidated);
        let networks = settings.mesh_networks.map(|networks| Arc::new(mesh::networks_resource(networks)));
        let nothing = mesh::networks_resource(Value::Null);
        self.upsert(&ObjectRef::from(&*config), Some(&config), queries, due);
        self.upsert(&ObjectRef::from(&nothing), networks.as_ref(), queries, due);
    }
}
