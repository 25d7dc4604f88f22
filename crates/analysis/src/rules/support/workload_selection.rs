//! Finds workloads that several objects of a namespace select; for `Sidecar` and `Telemetry`. Contains no rule.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::common_codes::IST0101;
use super::completeness;
use crate::{Findings, Resource, Selector, View, Within};

/// An object and the workloads that it selects.
pub struct Selecting<'a> {
    /// The object that selects.
    pub resource: &'a Arc<Resource>,
    /// The selected workloads.
    pub workloads: Vec<&'a Arc<Resource>>,
}

/// Finds the workloads that each object selects with the labels at `path`. Objects without labels are skipped. Reports
/// selectors that match no workload.
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
        if workloads.is_empty()
            && completeness::knows_workloads(view, Within::Namespace(&resource.namespace), &selector)
        {
            let selector = selector.to_string();
            findings
                .add(&IST0101, resource, format!("selector {selector} matches no workload in the namespace"))
                .field(format!("spec.{path}"))
                .arguments(["selector", &selector]);
        }
        found.push(Selecting { resource, workloads });
    }
    found
}

/// Sets of objects that select the same workload, each set with one such workload.
#[must_use]
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
        // A pod is preferred over its workload.
        let known: &mut &Arc<Resource> = conflicts.entry(set).or_insert(workload);
        if known.kind > workload.kind {
            *known = workload;
        }
    }
    conflicts
}

/// `a b`: the names of some objects.
#[must_use]
pub fn names(selecting: &[Selecting<'_>], set: &BTreeSet<usize>) -> String {
    set.iter().map(|at| selecting[*at].resource.name.as_str()).collect::<Vec<_>>().join(" ")
}
