//! Analyzes objects that are being edited: exchanges those of one document in a snapshot and runs the rules about them
//! alone, so that an editor has findings after each keystroke. What a change means for other objects shows a full run.
//! Pure.

use std::collections::HashSet;
use std::sync::Arc;

use super::alternatives::depends_on_others;
use super::run::settle;
use super::{Check, Finding, Findings, Kind, ObjectRef, Resource, Rule, Snapshot, View, placeholder};

/// Key of an object in a snapshot.
#[must_use]
pub fn key(resource: &Resource) -> ObjectRef {
    ObjectRef { namespace: resource.namespace.clone(), ..ObjectRef::from(resource) }
}

/// Removes the objects of a document and adds those that it has now.
pub fn exchange(snapshot: &mut Snapshot, old: &[ObjectRef], new: &[Arc<Resource>]) {
    let keys: Vec<ObjectRef> = new.iter().map(|object| key(object)).collect();
    let known: HashSet<&ObjectRef> = keys.iter().collect();
    for object in old.iter().filter(|object| !known.contains(object)) {
        snapshot.upsert(object, None, &mut |_| {});
    }
    for (key, object) in keys.iter().zip(new) {
        snapshot.upsert(key, Some(object), &mut |_| {});
    }
}

/// Findings about some objects of a snapshot, sorted and without duplicates.
#[must_use]
pub fn run_about(snapshot: &Snapshot, rules: &[&'static Rule], objects: &[Arc<Resource>]) -> Vec<Finding> {
    let mut findings = Findings::default();
    for rule in rules {
        let view = View::new(snapshot, rule.inputs);
        let of_kinds = |kinds: &'static [Kind]| objects.iter().filter(|it| kinds.contains(&it.kind));
        match rule.check {
            Check::Each(kinds, check) | Check::Text(kinds, check) => {
                of_kinds(kinds).for_each(|object| check(&view, object, &mut findings));
            }
            Check::Namespaces(kinds, check) => {
                let mut namespaces: Vec<&str> = of_kinds(kinds).map(|object| namespace(object)).collect();
                namespaces.sort_unstable();
                namespaces.dedup();
                for namespace in namespaces {
                    check(&view, namespace, &mut findings);
                }
            }
            Check::Once(check) => check(&view, &mut findings),
        }
    }
    let mut found = findings.into_vec();
    let places: HashSet<_> = objects.iter().map(|it| (it.origin, it.kind)).collect();
    found.retain(|finding| places.contains(&(finding.origin, finding.object.kind)));
    placeholder::drop_findings(snapshot, &mut found);
    settle(&mut found);
    found
}

fn namespace(object: &Resource) -> &str {
    if object.kind == Kind::Namespace { &object.name } else { &object.namespace }
}

/// Whether a finding may be about the relation to other objects, and not about its object alone.
#[must_use]
pub fn is_about_others(finding: &Finding) -> bool {
    depends_on_others(finding.code)
}

/// Whether the objects are those of one cluster: no kustomizations, no alternatives of one object, no object whose
/// namespace is open. Then [`super::run_alternatives`] gives what [`super::run()`] gives.
#[must_use]
pub fn is_of_one_cluster(snapshot: &Snapshot) -> bool {
    let files = || snapshot.all_with_replaced().filter(|it| it.origin.is_some());
    let is_stated = |it: &Resource| it.kind.is_namespaced() && !it.is_namespace_assumed && it.namespace != "default";
    let is_mixed = files().any(|it| is_stated(it)) && files().any(|it| it.is_namespace_assumed);
    snapshot.alternatives().next().is_none() && files().all(|it| it.build.is_none()) && !is_mixed
}
