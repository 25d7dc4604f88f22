//! Reports refusals and conflicts as a condition of the SMI object, and as a Kubernetes Event.

use std::collections::{BTreeMap, HashMap, HashSet};

use kube::Client;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use time::format_description::well_known::Rfc3339;
use tokio::sync::Mutex;

use super::lease::micro_time;
use super::request::{api, of_smi, resource, send};
use super::stores::Stores;
use super::{FIELD_MANAGER, Options};
use crate::clock::Clock;
use crate::cluster::ApiError;
use crate::hex::hex;
use crate::smi::{Identity, Kind, Reason, Report, Snapshot, crd};

/// Longest note of an Event, in bytes: the API's limit is 1,024.
const MAX_NOTE: usize = 1000;
/// Longest message of a condition, in bytes.
const MAX_MESSAGE: usize = 4000;

/// Our condition of an SMI object. `last_transition_time` changes only with the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    is_true: bool,
    reason: String,
    message: String,
    observed_generation: i64,
    last_transition_time: String,
}

/// Reads our condition from an object.
pub fn condition_of(object: &Value) -> Option<Condition> {
    let conditions = object["status"]["conditions"].as_array()?;
    let own = conditions.iter().find(|condition| condition["type"] == crd::CONDITION)?;
    let text = |field: &str| own[field].as_str().unwrap_or_default().to_owned();
    Some(Condition {
        is_true: own["status"] == "True",
        reason: text("reason"),
        message: text("message"),
        observed_generation: own["observedGeneration"].as_i64().unwrap_or_default(),
        last_transition_time: text("lastTransitionTime"),
    })
}

impl Condition {
    fn says_the_same(&self, other: &Self) -> bool {
        let parts = |one: &Self| (one.is_true, one.reason.clone(), one.message.clone(), one.observed_generation);
        parts(self) == parts(other)
    }

    fn body(&self, of: &Identity) -> Value {
        json!({
            "apiVersion": of.kind.api_version(),
            "kind": of.kind.name(),
            "metadata": {"name": of.name, "namespace": of.namespace},
            "status": {"conditions": [{
                "type": crd::CONDITION,
                "status": if self.is_true { "True" } else { "False" },
                "reason": self.reason,
                "message": self.message,
                "observedGeneration": self.observed_generation,
                "lastTransitionTime": self.last_transition_time,
            }]},
        })
    }
}

/// What identifies an object in an Event.
#[derive(Debug, Clone)]
struct Regarding {
    uid: String,
    generation: i64,
}

/// Writes conditions and Kubernetes Events.
pub struct Reporter {
    client: Client,
    identity: String,
    /// Kinds whose CRD has no status: those of another origin than ours.
    without_status: Mutex<HashSet<Kind>>,
    /// What was reported by Events, so that it is reported once.
    reported: Mutex<HashMap<Identity, HashSet<String>>>,
}

impl Reporter {
    pub fn new(client: Client, options: &Options) -> Self {
        let identity = options.identity.clone();
        Self { client, identity, without_status: Mutex::default(), reported: Mutex::default() }
    }

    /// Writes conditions and Events that differ from those in the cluster; gives the number of writes. A failure is
    /// logged: it must not keep the translation from being enforced.
    pub async fn report(
        &self,
        snapshot: &Snapshot,
        reports: &[Report],
        stores: &Stores,
        may_write: impl Fn() -> bool,
    ) -> usize {
        let mut by_source: BTreeMap<&Identity, Vec<&Report>> = BTreeMap::new();
        for report in reports {
            by_source.entry(&report.source).or_default().push(report);
        }
        self.reported.lock().await.retain(|source, _| by_source.contains_key(source));
        let mut writes = 0;
        for (source, regarding) in sources(snapshot) {
            if !may_write() {
                return writes;
            }
            let reports = by_source.get(&source).map(Vec::as_slice).unwrap_or_default();
            let old = stores.condition(&source);
            let mut is_known = false;
            if matches!(source.kind, Kind::TrafficTarget | Kind::TrafficSplit) {
                let new = condition(reports, regarding.generation, old.as_ref());
                is_known = old.as_ref().is_some_and(|old| old.says_the_same(&new));
                if !is_known {
                    writes += self.write_condition(&source, &new).await;
                }
            }
            for (reason, note) in notes(reports) {
                writes += self.event(&source, &regarding, reason, &note, is_known).await;
            }
        }
        writes
    }

    async fn write_condition(&self, of: &Identity, condition: &Condition) -> usize {
        if self.without_status.lock().await.contains(&of.kind) {
            return 0;
        }
        let api = api(&self.client, &of.namespace, &of_smi(of.kind));
        let params = PatchParams { force: true, ..PatchParams::apply(FIELD_MANAGER) };
        match send(api.patch_status(&of.name, &params, &Patch::Apply(condition.body(of)))).await {
            Ok(_) => 1,
            Err(ApiError::NotServed) => {
                tracing::info!("the CRD of {} has no status: it gets Events only", of.kind.name());
                self.without_status.lock().await.insert(of.kind);
                0
            }
            Err(ApiError::NotFound(_) | ApiError::Namespace { .. }) => 0,
            Err(fault) => {
                tracing::warn!("cannot write the condition of {of}: {fault}");
                0
            }
        }
    }

    /// Reported once for each generation of the object and each note. The Event's name is made from these, so that another
    /// controller does not report it again.
    async fn event(
        &self,
        source: &Identity,
        regarding: &Regarding,
        reason: Reason,
        note: &str,
        is_known: bool,
    ) -> usize {
        let what = format!("{}/{}/{}/{note}", regarding.uid, regarding.generation, reason.as_str());
        if !self.reported.lock().await.entry(source.clone()).or_default().insert(what.clone()) || is_known {
            return 0;
        }
        let digest = hex(&Sha256::digest(what.as_bytes())[..8]);
        let name: String = source.name.chars().take(230).collect();
        // An Event about a cluster-wide object is in the namespace default.
        let namespace = if source.namespace.is_empty() { "default" } else { &source.namespace };
        let resource = resource("events.k8s.io", "v1", "Event", "events");
        let mut event = DynamicObject::new(&format!("{name}.{digest}"), &resource);
        event.data = json!({
            "eventTime": micro_time(Clock::system().now()),
            "reportingController": format!("sailhand.dev/{FIELD_MANAGER}"),
            "reportingInstance": self.identity.chars().take(128).collect::<String>(),
            "action": "Translate",
            "reason": reason.as_str(),
            "type": "Warning",
            "note": note,
            "regarding": {
                "apiVersion": source.kind.api_version(),
                "kind": source.kind.name(),
                "namespace": source.namespace,
                "name": source.name,
                "uid": regarding.uid,
            },
        });
        tracing::info!("{source}: {}: {note}", reason.as_str());
        match send(api(&self.client, namespace, &resource).create(&PostParams::default(), &event)).await {
            Ok(_) => 1,
            Err(ApiError::Conflict(_) | ApiError::Namespace { .. }) => 0,
            Err(fault) => {
                tracing::warn!("cannot write an Event about {source}: {fault}");
                0
            }
        }
    }
}

/// The objects that reports can be about.
fn sources(snapshot: &Snapshot) -> Vec<(Identity, Regarding)> {
    let of = |kind, meta: &crate::smi::Meta| {
        let identity = Identity { kind, namespace: meta.namespace.clone(), name: meta.name.clone() };
        (identity, Regarding { uid: meta.uid.clone(), generation: meta.generation })
    };
    let targets = snapshot.traffic_targets.iter().map(|object| of(Kind::TrafficTarget, &object.meta));
    let splits = snapshot.traffic_splits.iter().map(|object| of(Kind::TrafficSplit, &object.meta));
    let namespaces = snapshot.namespaces.iter().map(|namespace| {
        let identity = Identity { kind: Kind::Namespace, namespace: String::new(), name: namespace.name.clone() };
        (identity, Regarding { uid: String::new(), generation: 0 })
    });
    targets.chain(splits).chain(namespaces).collect()
}

fn condition(reports: &[&Report], generation: i64, old: Option<&Condition>) -> Condition {
    let conflict = reports.iter().find(|report| report.reason == Reason::Conflict);
    let reason = conflict.or(reports.first()).map_or("Translated", |report| report.reason.as_str());
    let messages: Vec<_> = reports.iter().map(|report| report.message.as_str()).collect();
    let message =
        if messages.is_empty() { "every part of the object is translated".to_owned() } else { messages.join("; ") };
    let is_true = reports.is_empty();
    let now = || {
        Clock::system().now().replace_nanosecond(0).ok().and_then(|now| now.format(&Rfc3339).ok()).unwrap_or_default()
    };
    let kept = old.filter(|old| old.is_true == is_true).map(|old| old.last_transition_time.clone());
    Condition {
        is_true,
        reason: reason.to_owned(),
        message: cut(message, MAX_MESSAGE),
        observed_generation: generation,
        last_transition_time: kept.unwrap_or_else(now),
    }
}

/// One note for each reason.
fn notes(reports: &[&Report]) -> Vec<(Reason, String)> {
    let of = |reason: Reason| {
        let messages: Vec<_> =
            reports.iter().filter(|one| one.reason == reason).map(|one| one.message.as_str()).collect();
        (!messages.is_empty()).then(|| (reason, cut(messages.join("; "), MAX_NOTE)))
    };
    [Reason::Conflict, Reason::Refused].into_iter().filter_map(of).collect()
}

fn cut(text: String, most: usize) -> String {
    if text.len() <= most {
        return text;
    }
    let end = text.floor_char_boundary(most - "…".len());
    format!("{}…", &text[..end])
}
