//! Which workloads of a namespace several objects select at once; for `Sidecar` and `Telemetry`. Knows no rule.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::scope;
use super::shared::IST0101;
use crate::{Findings, Resource, Selector, View, Within};

/// What one object selects.
pub struct Selecting<'a> {
    /// The object.
    pub resource: &'a Arc<Resource>,
    /// The workloads, by kind and name.
    pub workloads: Vec<&'a Arc<Resource>>,
}

/// Finds what each object selects by the labels at `path`; those without labels are left out. Tells of those that
/// select nothing.
pub fn find<'a>(
    view: &View<'a>,
    objects: &'a [Arc<Resource>],
    path: &str,
    findings: &mut Findings,
) -> Vec<Selecting<'a>> {
    let mut found = Vec::new();
    for resource in objects {
        let selector = Selector::new(resource.spec().at(path));
        if selector.is_empty() {
            continue;
        }
        let workloads: Vec<_> = view.workloads(Within::Namespace(&resource.namespace), &selector).collect();
        if workloads.is_empty() && scope::knows_workloads(view, Within::Namespace(&resource.namespace), &selector) {
            let selector = selector.to_string();
            findings
                .add(&IST0101, resource, format!("no workload of the namespace has the labels {selector}"))
                .field(format!("spec.{path}"))
                .arguments(["selector", &selector]);
        }
        found.push(Selecting { resource, workloads });
    }
    found
}

/// Objects that select the same workload, each set of them once with one such workload.
pub fn conflicts<'a>(selecting: &[Selecting<'a>]) -> BTreeMap<BTreeSet<usize>, &'a Arc<Resource>> {
    let mut by_workload = BTreeMap::new();
    for (at, object) in selecting.iter().enumerate() {
        for workload in &object.workloads {
            let key = (workload.kind, workload.name.as_str(), &*workload.cluster);
            let selected = by_workload.entry(key).or_insert_with(|| (BTreeSet::new(), *workload));
            selected.0.insert(at);
        }
    }
    let mut conflicts = BTreeMap::new();
    for (set, workload) in by_workload.into_values().filter(|(set, _)| set.len() > 1) {
        // A pod stands for its workload where both are there.
        let known: &mut &Arc<Resource> = conflicts.entry(set).or_insert(workload);
        if known.kind > workload.kind {
            *known = workload;
        }
    }
    conflicts
}

/// `a b`: the names of some objects.
pub fn names(selecting: &[Selecting<'_>], set: &BTreeSet<usize>) -> String {
    set.iter().map(|at| selecting[*at].resource.name.as_str()).collect::<Vec<_>>().join(" ")
}
