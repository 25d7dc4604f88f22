//! Tracks the calls of rules: the queries and findings of each, and which calls must be repeated.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use compact_str::CompactString;

use super::published::Published;
use crate::query::{QueryId, QueryRecord};
use crate::{Check, Findings, Kind, ObjectRef, Resource, Rule, Snapshot, View, placeholder};

/// Number of a call.
pub(super) type Id = u32;

/// Scope of a call.
#[derive(Debug)]
enum Subject {
    Object(Arc<Resource>),
    Namespace(CompactString),
    Whole,
}

#[derive(Debug)]
struct Call {
    rule: &'static Rule,
    subject: Subject,
    queries: Box<[QueryId]>,
    /// Objects for which the call has findings.
    about: Box<[ObjectRef]>,
}

/// All calls.
#[derive(Debug)]
pub(super) struct Calls {
    /// By kind: rules that are called for its objects.
    of_kind: Vec<Vec<&'static Rule>>,
    /// By kind: indexes of rules that are called for namespaces with such objects.
    namespaces: Vec<Vec<(usize, &'static Rule)>>,
    whole: Vec<&'static Rule>,
    places: Vec<Option<Call>>,
    free: Vec<Id>,
    of_object: HashMap<ObjectRef, Box<[Id]>>,
    of_namespace: HashMap<(usize, CompactString), Id>,
    /// Calls by query.
    callers: HashMap<QueryId, Vec<Id>>,
}

impl Calls {
    pub(super) fn new(rules: &[&'static Rule]) -> Self {
        let mut this = Self {
            of_kind: vec![Vec::new(); Kind::COUNT],
            namespaces: vec![Vec::new(); Kind::COUNT],
            whole: Vec::new(),
            places: Vec::new(),
            free: Vec::new(),
            of_object: HashMap::new(),
            of_namespace: HashMap::new(),
            callers: HashMap::new(),
        };
        for (number, &rule) in rules.iter().enumerate() {
            match rule.check {
                Check::Each(kinds, _) | Check::Text(kinds, _) => {
                    for kind in kinds {
                        this.of_kind[kind.index()].push(rule);
                    }
                }
                Check::Namespaces(kinds, _) => {
                    for kind in kinds {
                        this.namespaces[kind.index()].push((number, rule));
                    }
                }
                Check::Once(_) => this.whole.push(rule),
            }
        }
        this
    }

    /// Calls for the whole snapshot.
    pub(super) fn add_whole(&mut self, due: &mut BTreeSet<Id>) {
        for rule in self.whole.clone() {
            due.insert(self.place(rule, Subject::Whole));
        }
    }

    /// An object was added.
    pub(super) fn add(&mut self, resource: &Arc<Resource>, due: &mut BTreeSet<Id>) {
        let rules = self.of_kind[resource.kind.index()].clone();
        let ids: Box<[Id]> =
            rules.into_iter().map(|rule| self.place(rule, Subject::Object(resource.clone()))).collect();
        due.extend(&ids);
        if !ids.is_empty() {
            self.of_object.insert(ObjectRef::from(&**resource), ids);
        }
    }

    /// An object was modified.
    pub(super) fn invalidate(&mut self, object: &ObjectRef, resource: &Arc<Resource>, due: &mut BTreeSet<Id>) {
        let Some(ids) = self.of_object.get(object) else { return };
        for id in ids {
            if let Some(call) = &mut self.places[*id as usize] {
                call.subject = Subject::Object(resource.clone());
            }
        }
        due.extend(ids);
    }

    /// An object was deleted.
    pub(super) fn remove(&mut self, object: &ObjectRef, due: &mut BTreeSet<Id>, published: &mut Published) {
        for id in self.of_object.remove(object).unwrap_or_default() {
            self.end(id, due, published);
        }
    }

    /// Adds or removes the namespace's calls, so that a rule is called as long as the namespace contains an object of
    /// its kinds.
    pub(super) fn track_namespace(
        &mut self,
        kind: Kind,
        namespace: &CompactString,
        snapshot: &Snapshot,
        due: &mut BTreeSet<Id>,
        published: &mut Published,
    ) {
        for (number, rule) in self.namespaces[kind.index()].clone() {
            let Check::Namespaces(kinds, _) = rule.check else { continue };
            let is_there = kinds.iter().any(|kind| match kind {
                Kind::Namespace => !snapshot.named(*kind, "", namespace).is_empty(),
                kind => !snapshot.in_namespace(*kind, namespace).is_empty(),
            });
            let key = (number, namespace.clone());
            match (is_there, self.of_namespace.get(&key).copied()) {
                (true, None) => {
                    let id = self.place(rule, Subject::Namespace(namespace.clone()));
                    self.of_namespace.insert(key, id);
                    due.insert(id);
                }
                (false, Some(id)) => {
                    self.of_namespace.remove(&key);
                    self.end(id, due, published);
                }
                // Its queries determine whether the call must be repeated.
                (true, Some(_)) | (false, None) => {}
            }
        }
    }

    /// Adds the calls that made a query.
    pub(super) fn callers_of(&self, query: QueryId, due: &mut BTreeSet<Id>) {
        due.extend(self.callers.get(&query).into_iter().flatten());
    }

    /// Runs calls and returns their number.
    pub(super) fn make(&mut self, due: &BTreeSet<Id>, snapshot: &Snapshot, published: &mut Published) -> usize {
        due.iter().filter(|id| self.make_one(**id, snapshot, published)).count()
    }

    fn make_one(&mut self, id: Id, snapshot: &Snapshot, published: &mut Published) -> bool {
        let Some(call) = &mut self.places[id as usize] else { return false };
        let record = QueryRecord::default();
        let view = View::recorded(snapshot, call.rule.inputs, &record);
        let mut findings = Findings::default();
        match (call.rule.check, &call.subject) {
            (Check::Each(_, check) | Check::Text(_, check), Subject::Object(resource)) => {
                check(&view, resource, &mut findings);
            }
            (Check::Namespaces(_, check), Subject::Namespace(namespace)) => check(&view, namespace, &mut findings),
            (Check::Once(check), Subject::Whole) => check(&view, &mut findings),
            _ => {}
        }
        let mut found = findings.into_vec();
        placeholder::drop_findings(snapshot, &mut found);
        call.about = published.take(id, std::mem::take(&mut call.about), found);
        let queries = record.into_sorted();
        if *queries != *call.queries {
            let before = std::mem::replace(&mut call.queries, queries.clone().into());
            self.remove_caller(id, before.iter().filter(|one| queries.binary_search(one).is_err()));
            for one in queries.iter().filter(|one| before.binary_search(one).is_err()) {
                self.callers.entry(*one).or_default().push(id);
            }
        }
        true
    }

    fn place(&mut self, rule: &'static Rule, subject: Subject) -> Id {
        let call = Some(Call { rule, subject, queries: Box::default(), about: Box::default() });
        if let Some(id) = self.free.pop() {
            self.places[id as usize] = call;
            return id;
        }
        self.places.push(call);
        // Memory is exhausted long before this counter overflows.
        Id::try_from(self.places.len() - 1).unwrap_or(Id::MAX)
    }

    fn end(&mut self, id: Id, due: &mut BTreeSet<Id>, published: &mut Published) {
        due.remove(&id);
        let Some(call) = self.places[id as usize].take() else { return };
        published.take(id, call.about, Vec::new());
        self.remove_caller(id, call.queries.iter());
        self.free.push(id);
    }

    fn remove_caller<'a>(&mut self, id: Id, queries: impl Iterator<Item = &'a QueryId>) {
        for query in queries {
            if let Some(callers) = self.callers.get_mut(query) {
                if let Some(at) = callers.iter().position(|asker| *asker == id) {
                    callers.swap_remove(at);
                }
                if callers.is_empty() {
                    self.callers.remove(query);
                }
            }
        }
    }
}
