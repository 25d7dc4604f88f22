//! Findings that are kept right while objects change, without judging everything again. Pure, as the rest.
//!
//! # How
//!
//! A *call* is one rule with what it is called for: an object, a namespace, or nothing ([`Check`](super::Check)). Of
//! each call are kept what it has found and which questions (`question.rs`) it asked its [`View`](super::View): all
//! objects of a kind, those of a namespace, of a name, with a key of an index, the mesh's settings, the time. A view is
//! the only way from a rule to an object, so this is all that a call depends on, beside what it is called for.
//!
//! A change of an object is a change of the answers to a few questions: its kind, its namespace, its name, and its keys
//! in each index, before and after. The calls that asked one of them are made again, and no others. Questions that ask
//! only whether there is anything ([`View::has`](super::View::has) and its like) have another answer only when the
//! first comes or the last goes; rules use them wherever that is all they want to know, since nearly every rule asks
//! how much of a cluster it sees.
//!
//! | a rule that is called | depends on | so is called again |
//! |---|---|---|
//! | for each object | the object and what it looks up | when one of them changes |
//! | for each namespace | what it looks up, which is mostly of that namespace | when something there changes |
//! | once | mostly whole kinds | when any object of them changes; there are few, and each is one pass |
//!
//! Findings are sorted, told once and numbered for each object as [`run`](super::run()) does it for all, which comes to
//! the same because order, sameness and fingerprint begin with the object. `tests/prop_incremental.rs` holds that
//! what is kept is what a full run finds, after any sequence of changes.

mod calls;
mod told;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::question::{Asked, Question};
use super::snapshot::Exchange;
use super::{Finding, Kind, Node, ObjectRef, Resource, Rule, Snapshot, mesh};
use calls::Calls;
use told::Told;

/// A change of an object.
#[derive(Debug, Clone)]
pub enum Change {
    /// It is there, and says this.
    Put(Box<Resource>),
    /// It is gone.
    Delete(ObjectRef),
}

/// What is different after changes. The findings, sorted, as an observer has to keep them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Difference {
    /// New ones, and those known by their fingerprint of which something else has changed, such as the level.
    pub found: Vec<Finding>,
    /// Those that are no more.
    pub resolved: Vec<Finding>,
    /// How many calls of rules it took.
    pub calls: usize,
}

/// Objects, and what rules find in them at any moment. The mesh's settings are those of `ConfigMap` `istio`.
#[derive(Debug)]
pub struct Incremental {
    snapshot: Snapshot,
    calls: Calls,
    told: Told,
}

impl Incremental {
    /// Judges all of it once.
    #[must_use]
    pub fn new(rules: &[&'static Rule], resources: Vec<Resource>, now: i64) -> Self {
        let settings = mesh::settings_in(&resources, now);
        let snapshot = Snapshot::new(resources, settings);
        let mut this = Self { snapshot, calls: Calls::new(rules), told: Told::default() };
        let mut due = BTreeSet::new();
        for kind in Kind::ALL {
            for resource in this.snapshot.of(*kind) {
                this.calls.add(resource, &mut due);
            }
            for namespace in this.snapshot.namespaces_with(&[*kind]) {
                this.calls.hold_namespace(*kind, &namespace, &this.snapshot, &mut due, &mut this.told);
            }
        }
        this.calls.add_whole(&mut due);
        this.calls.make(&due, &this.snapshot, &mut this.told);
        this.told.settle();
        this
    }

    /// Takes over changes, those of one object in their order, and judges what they touch.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = Change>) -> Difference {
        let mut asked: BTreeSet<Asked> = BTreeSet::new();
        let mut due = BTreeSet::new();
        let mut is_mesh_touched = false;
        for change in changes {
            let (object, new) = match change {
                Change::Put(resource) => (ObjectRef::from(&*resource), Some(Arc::new(*resource))),
                Change::Delete(object) => (object, None),
            };
            is_mesh_touched |=
                object.kind == Kind::ConfigMap && object.namespace == mesh::ISTIO_NAMESPACE && object.name == "istio";
            self.exchange(&object, new.as_ref(), &mut asked, &mut due);
        }
        if is_mesh_touched {
            self.read_settings(&mut asked, &mut due);
        }
        self.judge(&asked, due)
    }

    /// Moves the time on: certificates end.
    pub fn set_now(&mut self, now: i64) -> Difference {
        let mut asked = BTreeSet::new();
        self.snapshot.set_now(now, &mut |question| {
            asked.insert(question.number());
        });
        self.judge(&asked, BTreeSet::new())
    }

    /// All findings, in the order of a full run.
    #[must_use]
    pub fn findings(&self) -> Vec<&Finding> {
        self.told.all()
    }

    /// The objects as they are.
    #[must_use]
    pub const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    fn judge(&mut self, asked: &BTreeSet<Asked>, mut due: BTreeSet<calls::Id>) -> Difference {
        for number in asked {
            self.calls.asked(*number, &mut due);
        }
        let calls = self.calls.make(&due, &self.snapshot, &mut self.told);
        let (found, resolved) = self.told.settle();
        Difference { found, resolved, calls }
    }

    fn exchange(
        &mut self,
        object: &ObjectRef,
        new: Option<&Arc<Resource>>,
        asked: &mut BTreeSet<Asked>,
        due: &mut BTreeSet<calls::Id>,
    ) {
        let mut touched = |question: Question<'_>| {
            asked.insert(question.number());
        };
        match (self.snapshot.exchange(object, new, &mut touched), new) {
            (Exchange::Nothing, _) => return,
            (Exchange::Changed | Exchange::Removed, Some(new)) => self.calls.renew(object, new, due),
            (Exchange::Added, Some(new)) => self.calls.add(new, due),
            (_, None) => self.calls.remove(object, due, &mut self.told),
        }
        let namespace = if object.kind == Kind::Namespace { &object.name } else { &object.namespace };
        self.calls.hold_namespace(object.kind, namespace, &self.snapshot, due, &mut self.told);
    }

    /// The mesh's settings as the objects have them now.
    fn read_settings(&mut self, asked: &mut BTreeSet<Asked>, due: &mut BTreeSet<calls::Id>) {
        let map = self.snapshot.named(Kind::ConfigMap, mesh::ISTIO_NAMESPACE, "istio").first();
        let settings = mesh::settings_of(map.map(|map| &**map), self.snapshot.now());
        let mut touched = |question: Question<'_>| {
            asked.insert(question.number());
        };
        let config = settings.mesh_config.unwrap_or(Node::Null);
        let config = self.snapshot.set_mesh(&config, &mut touched);
        let networks = settings.mesh_networks.map(|networks| Arc::new(mesh::networks_resource(networks)));
        let nothing = mesh::networks_resource(Node::Null);
        self.exchange(&ObjectRef::from(&*config), Some(&config), asked, due);
        self.exchange(&ObjectRef::from(&nothing), networks.as_ref(), asked, due);
    }
}
