//! Finds labels that select exactly the pods of a `ServiceAccount`.
//!
//! Istio selects workloads by labels, SMI by identity. For each distinct set of labels that the pods of an identity have,
//! there is one selector. It is exact when no pod of another identity has these labels too.

use std::collections::{BTreeMap, HashMap};

use super::{Key, Workload};

/// Labels that pods of one identity have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selector<'a> {
    /// The labels. Empty for pods without labels, which nothing can select.
    pub labels: &'a BTreeMap<String, String>,
    /// Another identity whose pods have the labels too, with the name of one of its workloads.
    pub shared_with: Option<(&'a str, &'a str)>,
}

/// The selectors of all identities, by namespace and `ServiceAccount`. Selectors that only repeat a part of another exact
/// selector are left out.
pub(super) fn all<'a>(workloads: &HashMap<&'a str, Vec<&'a Workload>>) -> HashMap<Key<'a>, Vec<Selector<'a>>> {
    let mut found = HashMap::new();
    for (namespace, workloads) in workloads {
        // Distinct, and in an order of their own, so that the result does not depend on the order of the workloads.
        let mut kinds: BTreeMap<&str, BTreeMap<&BTreeMap<String, String>, &str>> = BTreeMap::new();
        for one in workloads {
            let name = kinds.entry(&one.service_account).or_default().entry(&one.labels).or_insert(&one.name);
            *name = (*name).min(&one.name);
        }
        let mut by_label: HashMap<(&str, &str), Vec<Kind<'_>>> = HashMap::new();
        for (account, kinds) in &kinds {
            for (labels, name) in kinds {
                for (key, value) in *labels {
                    by_label.entry((key, value)).or_default().push(Kind { account, labels, name });
                }
            }
        }
        for (account, kinds) in &kinds {
            let selector = |labels| Selector { labels, shared_with: shared(labels, account, &by_label) };
            let selectors = kinds.keys().map(|labels| selector(*labels)).collect();
            found.insert((*namespace, *account), without_parts(selectors));
        }
    }
    found
}

/// Pods of one identity with equal labels.
struct Kind<'a> {
    account: &'a str,
    labels: &'a BTreeMap<String, String>,
    name: &'a str,
}

/// A workload of another identity that has all the labels. Only the workloads with the rarest label are checked.
fn shared<'a>(
    labels: &BTreeMap<String, String>,
    account: &str,
    by_label: &HashMap<(&'a str, &'a str), Vec<Kind<'a>>>,
) -> Option<(&'a str, &'a str)> {
    let candidates = labels.iter().filter_map(|(key, value)| by_label.get(&(key.as_str(), value.as_str())));
    let rarest = candidates.min_by_key(|candidates| candidates.len())?;
    let other = rarest.iter().find(|other| other.account != account && selects(labels, other.labels))?;
    Some((other.account, other.name))
}

fn without_parts(selectors: Vec<Selector<'_>>) -> Vec<Selector<'_>> {
    let exact: Vec<_> = selectors.iter().filter(|one| one.shared_with.is_none()).map(|one| one.labels).collect();
    let covered = |one: &Selector<'_>| {
        exact.iter().any(|labels| !labels.is_empty() && *labels != one.labels && selects(labels, one.labels))
    };
    selectors.into_iter().filter(|one| !covered(one)).collect()
}

/// Whether `selector` selects pods with `labels`. An empty selector selects every pod.
pub(super) fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}
