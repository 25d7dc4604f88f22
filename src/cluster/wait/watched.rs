//! The objects that a command waits for, with their readiness. Pure: gets objects and pods, and returns what is not ready.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::ObjectRef;
use crate::cluster::ready::{Readiness, has_status, pod_reason, readiness};

/// A reason is at most so long; a webhook's answer may be pages.
const REASON: usize = 300;

/// Objects that one request reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// Such as `apps/v1`.
    pub api_version: String,
    /// Such as `Deployment`.
    pub kind: String,
    /// None for objects without.
    pub namespace: Option<String>,
}

impl Group {
    fn of(object: &ObjectRef) -> Self {
        Self { api_version: object.api_version.clone(), kind: object.kind.clone(), namespace: object.namespace.clone() }
    }
}

/// State of an object that is not ready.
#[derive(Debug, Default)]
struct State {
    reason: String,
    failed: bool,
    /// Labels of its pods, for workloads.
    selector: Option<BTreeMap<String, String>>,
}

/// A pod that is not ready.
#[derive(Debug)]
pub struct WaitingPod {
    name: String,
    labels: BTreeMap<String, String>,
    reason: String,
}

/// A pod's name and reason; none for pods that are ready, done or on their way out.
pub fn waiting_pod(pod: &Value) -> Option<WaitingPod> {
    let status = &pod["status"];
    let ready = status["conditions"]
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"));
    if ready || status["phase"] == "Succeeded" || pod["metadata"]["deletionTimestamp"].is_string() {
        return None;
    }
    Some(WaitingPod {
        name: pod["metadata"]["name"].as_str()?.to_owned(),
        labels: strings(&pod["metadata"]["labels"]),
        reason: pod_reason(pod)?,
    })
}

/// The objects of one wait.
#[derive(Debug)]
pub struct Watched {
    total: usize,
    open: BTreeMap<ObjectRef, State>,
    pods: BTreeMap<String, Vec<WaitingPod>>,
}

impl Watched {
    /// Objects of kinds without a status are ready as soon as they are there.
    pub fn new(objects: &[ObjectRef]) -> Self {
        let open: BTreeMap<_, _> = objects
            .iter()
            .filter(|object| has_status(&object.api_version, &object.kind))
            .map(|object| (object.clone(), State { reason: "not checked yet".to_owned(), ..State::default() }))
            .collect();
        let total = objects.iter().collect::<BTreeSet<_>>().len();
        Self { total, open, pods: BTreeMap::new() }
    }

    /// Nothing is waited for any more.
    pub fn is_done(&self) -> bool {
        self.open.is_empty()
    }

    /// Ready objects, and all.
    pub fn counts(&self) -> (usize, usize) {
        (self.total - self.open.len(), self.total)
    }

    /// Objects to read in the next round.
    pub fn open_groups(&self) -> BTreeSet<Group> {
        self.open.keys().map(Group::of).collect()
    }

    /// The object, where a group has no other one that is waited for.
    pub fn only_one_of(&self, group: &Group) -> Option<ObjectRef> {
        let mut all = self.open.keys().filter(|object| Group::of(object) == *group);
        let first = all.next()?;
        all.next().is_none().then(|| first.clone())
    }

    /// Whether a listed object is waited for.
    pub fn wants(&self, group: &Group, object: &Value) -> bool {
        reference(group, object).is_some_and(|object| self.open.contains_key(&object))
    }

    /// Takes objects of the group as ready, by name, so that [`Self::judge`] does not judge them.
    pub fn settle(&mut self, group: &Group, names: &[Value]) {
        self.open.retain(|object, _| Group::of(object) != *group || !names.iter().any(|name| *name == object.name));
    }

    /// Applies a read of the group. An object that it does not contain does not exist.
    pub fn judge(&mut self, group: &Group, found: &[Value]) {
        let mut found: BTreeMap<_, _> =
            found.iter().filter_map(|object| Some((reference(group, object)?, object))).collect();
        self.open.retain(|object, state| {
            if Group::of(object) != *group {
                return true;
            }
            let judged = found.remove(object).map(|value| (readiness(value), value));
            let (reason, failed) = match &judged {
                None => ("it does not exist".to_owned(), false),
                Some((Readiness::Current, _)) => return false,
                Some((Readiness::Terminating, _)) => ("it is being deleted".to_owned(), false),
                Some((Readiness::InProgress(reason), _)) => (reason.clone(), false),
                Some((Readiness::Failed(reason), _)) => (reason.clone(), true),
            };
            *state =
                State { reason: shorten(&reason), failed, selector: judged.and_then(|(_, value)| selector(value)) };
            true
        });
    }

    /// The first object that has failed, and why.
    pub fn failed(&self) -> Option<(&ObjectRef, String)> {
        let (object, state) = self.open.iter().find(|(_, state)| state.failed)?;
        Some((object, self.reason(object, state)))
    }

    /// Namespaces of workloads that are not ready: their pods have the reasons.
    pub fn namespaces_of_waiting_workloads(&self) -> BTreeSet<String> {
        let workloads = self.open.iter().filter(|(_, state)| state.selector.is_some());
        workloads.filter_map(|(object, _)| object.namespace.clone()).collect()
    }

    /// Takes the pods of a namespace that are not ready.
    pub fn explain(&mut self, namespace: String, mut pods: Vec<WaitingPod>) {
        pods.sort_by(|a, b| a.name.cmp(&b.name)); // the same pod is named as long as it waits
        self.pods.insert(namespace, pods);
    }

    /// Each object with its reason, in order.
    pub fn waiting(&self) -> Vec<String> {
        self.open.iter().map(|(object, state)| format!("{object}: {}", self.reason(object, state))).collect()
    }

    fn reason(&self, object: &ObjectRef, state: &State) -> String {
        let pods = object.namespace.as_ref().and_then(|namespace| self.pods.get(namespace));
        let pod = state.selector.as_ref().zip(pods).and_then(|(selector, pods)| {
            pods.iter().find(|pod| selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value)))
        });
        match pod {
            Some(pod) => format!("{}: pod {}: {}", state.reason, pod.name, shorten(&pod.reason)),
            None => state.reason.clone(),
        }
    }
}

fn reference(group: &Group, object: &Value) -> Option<ObjectRef> {
    Some(ObjectRef {
        api_version: group.api_version.clone(),
        kind: group.kind.clone(),
        namespace: group.namespace.clone(),
        name: object["metadata"]["name"].as_str()?.to_owned(),
    })
}

/// Expressions in selectors are rare and left out: the worst case names another pod of the same labels.
fn selector(object: &Value) -> Option<BTreeMap<String, String>> {
    let labels = strings(&object["spec"]["selector"]["matchLabels"]);
    (!labels.is_empty()).then_some(labels)
}

fn strings(labels: &Value) -> BTreeMap<String, String> {
    let labels = labels.as_object().into_iter().flatten();
    labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(REASON) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(api_version: &str, kind: &str, name: &str) -> ObjectRef {
        ObjectRef {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: Some("shop".to_owned()),
            name: name.to_owned(),
        }
    }

    fn deployment(name: &str, ready: i64) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "generation": 1},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}},
            "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": ready,
                "readyReplicas": ready, "conditions": [
                    {"type": "Available", "status": "True"},
                    {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
                ]},
        })
    }

    #[test]
    fn a_workload_is_explained_by_its_first_waiting_pod() {
        let (one, two) = (object("apps/v1", "Deployment", "one"), object("apps/v1", "Deployment", "two"));
        let group = Group::of(&one);
        let mut watched = Watched::new(&[one.clone(), two, object("v1", "ConfigMap", "settings")]);
        assert_eq!(watched.counts(), (1, 3));
        assert_eq!(watched.only_one_of(&group), None);

        watched.judge(&group, &[deployment("one", 0), deployment("two", 1), deployment("other", 0)]);
        assert_eq!(watched.counts(), (2, 3));
        assert_eq!(watched.only_one_of(&group), Some(one));
        assert_eq!(watched.waiting(), ["Deployment shop/one: 0 of 1 available"]);
        assert_eq!(watched.namespaces_of_waiting_workloads(), BTreeSet::from(["shop".to_owned()]));

        let pod = |name: &str, app: &str, reason: &str| {
            waiting_pod(&json!({"metadata": {"name": name, "labels": {"app": app}}, "status": {"phase": "Pending",
                "containerStatuses": [{"name": "app", "ready": false, "state": {"waiting": {"reason": reason}}}]}}))
        };
        let ready = json!({"metadata": {"name": "one-0", "labels": {"app": "one"}},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        let pods = [pod("one-2", "one", "ErrImagePull"), pod("one-1", "one", "CrashLoopBackOff"), pod("a", "two", "X")];
        watched.explain("shop".to_owned(), pods.into_iter().chain([waiting_pod(&ready)]).flatten().collect());
        assert_eq!(
            watched.waiting(),
            ["Deployment shop/one: 0 of 1 available: pod one-1: CrashLoopBackOff (container app)"]
        );

        watched.judge(&group, &[deployment("one", 1)]);
        assert!(watched.is_done());
    }

    #[test]
    fn deleted_and_failed_objects_are_reported() {
        let job = object("batch/v1", "Job", "migrate");
        let group = Group::of(&job);
        let mut watched = Watched::new(std::slice::from_ref(&job));
        watched.judge(&group, &[]);
        assert_eq!(watched.waiting(), ["Job shop/migrate: it does not exist"]);
        assert!(watched.failed().is_none());

        let failed = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "migrate"}, "spec": {},
            "status": {"conditions": [{"type": "Failed", "status": "True", "message": "x".repeat(1000)}]}});
        watched.judge(&group, &[failed]);
        let (object, reason) = watched.failed().unwrap();
        assert_eq!((object, reason.chars().count()), (&job, REASON + 1));
    }
}
