//! Published findings by object, and their changes since the last publication.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::calls::Id;
use crate::run::settle;
use crate::{Finding, ObjectRef};

#[derive(Debug, Default)]
struct OfObject {
    /// Findings of each call.
    by_call: Vec<(Id, Vec<Finding>)>,
    /// All findings as last published.
    published: Vec<Finding>,
}

/// Findings by object.
#[derive(Debug, Default)]
pub(super) struct Published {
    objects: HashMap<ObjectRef, OfObject>,
    /// Objects for which the findings of some call have changed.
    changed: HashSet<ObjectRef>,
}

impl Published {
    /// Replaces the findings of a call, which were about `before`. Returns the objects that the new ones are about.
    pub(super) fn take(&mut self, id: Id, before: Box<[ObjectRef]>, found: Vec<Finding>) -> Box<[ObjectRef]> {
        if before.is_empty() && found.is_empty() {
            return before;
        }
        let mut by_object: HashMap<ObjectRef, Vec<Finding>> = HashMap::new();
        for finding in found {
            match by_object.get_mut(&finding.object) {
                Some(findings) => findings.push(finding),
                None => drop(by_object.insert(finding.object.clone(), vec![finding])),
            }
        }
        let about = by_object.keys().cloned().collect();
        for object in before.iter().filter(|object| !by_object.contains_key(object)) {
            if let Some(of_object) = self.objects.get_mut(object) {
                of_object.by_call.retain(|(call, _)| *call != id);
                self.changed.insert(object.clone());
            }
        }
        for (object, findings) in by_object {
            let of_object = self.objects.entry(object.clone()).or_default();
            match of_object.by_call.iter_mut().find(|(call, _)| *call == id) {
                Some((_, known)) if *known == findings => continue,
                Some((_, known)) => *known = findings,
                None => of_object.by_call.push((id, findings)),
            }
            self.changed.insert(object);
        }
        about
    }

    /// Updates the published findings. Returns the added or modified ones and the removed ones.
    pub(super) fn settle(&mut self) -> (Vec<Finding>, Vec<Finding>) {
        let (mut found, mut resolved) = (Vec::new(), Vec::new());
        for object in std::mem::take(&mut self.changed) {
            let Some(of_object) = self.objects.get_mut(&object) else { continue };
            let mut now: Vec<Finding> = of_object.by_call.iter().flat_map(|(_, findings)| findings).cloned().collect();
            settle(&mut now);
            let before = std::mem::replace(&mut of_object.published, now);
            let now = &of_object.published;
            found.extend(now.iter().filter(|one| !before.contains(one)).cloned());
            let marks: BTreeSet<&str> = now.iter().map(|one| one.fingerprint.as_str()).collect();
            resolved.extend(before.into_iter().filter(|one| !marks.contains(one.fingerprint.as_str())));
            if of_object.by_call.is_empty() {
                self.objects.remove(&object);
            }
        }
        for findings in [&mut found, &mut resolved] {
            findings.sort_unstable_by(|a, b| a.order().cmp(&b.order()));
        }
        (found, resolved)
    }

    /// All findings, in the order of a full run.
    pub(super) fn all(&self) -> Vec<&Finding> {
        let mut all: Vec<&Finding> = self.objects.values().flat_map(|of_object| &of_object.published).collect();
        all.sort_unstable_by(|a, b| a.order().cmp(&b.order()));
        all
    }
}
