//! Decides for each object of a set what has to be done, reading and asking but writing nothing.

use std::collections::{BTreeSet, HashMap, HashSet};

use futures::{StreamExt, stream};
use serde_json::{Value, json};

use super::api_error::ApiError;
use super::autoscaler::{self, Autoscaler};
use super::connection::Apply;
use super::desired::Desired;
use super::discovery::Kind;
use super::installations::Installations;
use super::managed_fields::Comparison;
use super::options::ApplyOptions;
use super::order::{Phase, never_recreated};
use super::takeover::TakeOver;
use super::write::is_contested;
use super::{
    Cluster, Error, FIELD_MANAGER, FieldChange, clearing, diff, ignored_fields, inventory, live, managed_fields,
    ownership, takeover,
};

/// Requests about single objects at once: enough to keep an API server busy, not enough to be throttled by its
/// priority and fairness.
pub(super) const PARALLEL: usize = 16;
/// Maximum number of reads of an object that changes between read and dry run. After the last one, changes of other
/// clients may be part of the reported difference.
const READS: usize = 3;
/// The namespace for the dry run of objects whose own namespace does not exist yet. Every cluster has it.
const STAND_IN: &str = "default";

/// An object and what to do about it.
pub(super) struct Planned {
    pub desired: Desired,
    pub decision: Decision,
    /// Warnings about the object.
    pub note: Option<String>,
    /// The differences; only in a dry run.
    pub diff: Vec<FieldChange>,
}

/// What to do.
#[derive(Debug)]
pub(super) enum Decision {
    /// It is as desired.
    Unchanged,
    /// It does not exist.
    Create,
    /// It is there and differs.
    Patch(Seen),
    /// It differs in what cannot be changed, and may be replaced.
    Recreate(Seen),
    /// Its kind comes with a CRD of the same set: decide when that is there.
    Deferred,
    /// It cannot be done.
    Fail(Error),
}

/// The live object a decision was made on.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub uid: String,
    pub resource_version: String,
    /// The managers whose fields are taken over before the write.
    pub taken: Vec<String>,
    /// The merge patch that clears fields before the write.
    pub clears: Option<Value>,
    /// For a `PersistentVolume`: the claim that it is bound to, such as `shop/data`.
    pub bound_to: Option<String>,
}

impl Decision {
    /// Whether carrying it out writes to the cluster.
    pub const fn writes(&self) -> bool {
        !matches!(self, Self::Unchanged | Self::Fail(_))
    }
}

impl Seen {
    /// Whether fields are cleared or taken over before the object is applied.
    pub fn writes_first(&self) -> bool {
        !self.taken.is_empty() || self.clears.is_some()
    }

    fn of(live: &Value, taken: &[String]) -> Self {
        let text = |key: &str| live["metadata"][key].as_str().unwrap_or_default().to_owned();
        let claim = &live["spec"]["claimRef"];
        let is_bound = live["status"]["phase"] == "Bound";
        let part = |key: &str| claim[key].as_str().unwrap_or_default();
        Self {
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            taken: taken.to_vec(),
            clears: None,
            bound_to: is_bound.then(|| format!("{}/{}", part("namespace"), part("name"))),
        }
    }
}

/// Plans a set for the installation with the apply set `id`. Namespaces in `coming` are not there yet.
pub(super) async fn plan(
    cluster: &Cluster,
    set: Vec<Desired>,
    id: &str,
    options: &ApplyOptions,
    coming: &BTreeSet<String>,
) -> Result<Vec<Planned>, Error> {
    let known = set.iter().enumerate().filter(|(_, desired)| !desired.pending);
    let reads: Vec<_> =
        known.filter_map(|(number, desired)| Some((number, desired.kind.clone()?, desired.object.clone()))).collect();
    let mut live: HashMap<usize, Value> = live::read(cluster, reads).await?.into_iter().collect();
    refuse_one_object_twice(&set, &live)?;
    let mut coming = coming.clone();
    if options.dry_run {
        let absent = set.iter().enumerate().filter(|(number, _)| !live.contains_key(number));
        coming.extend(absent.filter(|(_, one)| one.object.kind == "Namespace").map(|(_, one)| one.object.name.clone()));
    }
    let (autoscalers, installations) = (autoscaler::of_set(&set), Installations::of(cluster));
    let decider = Decider { cluster, id, options, coming, autoscalers, installations };
    let (crds, mut others): (Vec<_>, Vec<_>) =
        set.into_iter().enumerate().partition(|(_, one)| one.phase == Phase::Definitions);
    let mut planned = decider.decide_all(crds, &mut live).await;
    let changed: HashSet<_> = planned
        .iter()
        .filter(|(_, one)| one.decision.writes())
        .flat_map(|(_, one)| Kind::defined_by(&one.desired.body))
        .map(|kind| (kind.resource.group, kind.resource.kind))
        .collect();
    for (_, one) in &mut others {
        one.redefined = changed.contains(&(one.object.group().to_owned(), one.object.kind.clone()));
    }
    planned.extend(decider.decide_all(others, &mut live).await);
    planned.sort_by_key(|(number, _)| *number);
    Ok(planned.into_iter().map(|(_, one)| one).collect())
}

/// Some kinds are served in two API groups (Event in the core group and in events.k8s.io): two objects of the set with
/// one UID are one object, which each would write in turn.
fn refuse_one_object_twice(set: &[Desired], live: &HashMap<usize, Value>) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for (number, desired) in set.iter().enumerate() {
        let uid = live.get(&number).and_then(|live| live["metadata"]["uid"].as_str());
        if uid.is_some_and(|uid| !seen.insert(uid)) {
            return Err(Error::Twice { object: format!("{} ({})", desired.object, desired.object.api_version) });
        }
    }
    Ok(())
}

/// What the decisions about the objects of one set share.
struct Decider<'a> {
    cluster: &'a Cluster,
    id: &'a str,
    options: &'a ApplyOptions,
    /// Namespaces that are not there yet.
    coming: BTreeSet<String>,
    autoscalers: Vec<Autoscaler>,
    installations: Installations<'a>,
}

impl Decider<'_> {
    async fn decide_all(&self, set: Vec<(usize, Desired)>, live: &mut HashMap<usize, Value>) -> Vec<(usize, Planned)> {
        let (numbers, set): (Vec<_>, Vec<_>) = set.into_iter().unzip();
        let decisions: Vec<_> =
            numbers.iter().zip(set).map(|(number, desired)| self.decide(desired, live.remove(number), 1)).collect();
        let planned: Vec<_> = stream::iter(decisions).buffered(PARALLEL).collect().await;
        numbers.into_iter().zip(planned).collect()
    }

    /// `reads`: how often the object has been read.
    async fn decide(&self, mut desired: Desired, live: Option<Value>, reads: usize) -> Planned {
        let (cluster, options) = (self.cluster, self.options);
        if desired.pending {
            let decision = if options.dry_run { Decision::Create } else { Decision::Deferred };
            return Planned { desired, decision, note: None, diff: Vec::new() };
        }
        let Some(mut live) = live else {
            ignored_fields::strip_ignored(&mut desired.body, None);
            let decision = decide_absent(cluster, &desired, options, &self.coming).await;
            return unjudged(Planned { desired, decision, note: None, diff: Vec::new() }, || Decision::Create);
        };
        if let Some(error) = refusal(cluster, &desired, &live, self.id, options) {
            let decision = Decision::Fail(self.installations.name_owner(&live, error).await);
            return Planned { desired, decision, note: None, diff: Vec::new() };
        }
        let taken = takeover::plan(&live, &desired.object.api_version, options);
        let note = note(&live, &desired, taken.as_ref(), options);
        let managers = taken.map_or_else(Vec::new, |taken| {
            live = taken.live;
            taken.managers
        });
        ignored_fields::strip_ignored(&mut desired.body, Some(&live));
        let scaled = autoscaler::keep_replicas(cluster, &mut desired, &live, &self.autoscalers).await;
        let notes: Vec<_> = note.into_iter().chain(scaled).collect();
        let note = (!notes.is_empty()).then(|| notes.join("; "));
        let clears = clears(cluster, &desired, &live).await;
        let seen = |live: &Value| Seen { clears: clears.clone(), ..Seen::of(live, &managers) };
        let mut diff = Vec::new();
        let decision = match managed_fields::compare(&desired.body, &live) {
            Comparison::Same if managers.is_empty() && clears.is_none() => Decision::Unchanged,
            // The write itself finds out; one that changes nothing is not stored.
            Comparison::Different if !options.dry_run => Decision::Patch(seen(&live)),
            _ if !options.dry_run && (!managers.is_empty() || clears.is_some() || desired.redefined) => {
                Decision::Patch(seen(&live))
            }
            _ => match difference(cluster, &desired, &live, options, &managers, clears.is_some()).await {
                Ok(Some((live, answer))) => {
                    if options.dry_run {
                        diff = diff::changes(&live, &answer, desired.object.kind == "Secret");
                    }
                    Decision::Patch(seen(&live))
                }
                Ok(None) if managers.is_empty() => Decision::Unchanged,
                Ok(None) => Decision::Patch(seen(&live)),
                Err(error) => match self.changed_since(&desired, &live, &error, reads).await {
                    Some(now) => return Box::pin(self.decide(desired, Some(now), reads + 1)).await,
                    None => after_refusal(&desired, &live, options, error),
                },
            },
        };
        unjudged(Planned { desired, decision, note, diff }, || Decision::Patch(seen(&live)))
    }

    /// The object after a conflict, if another manager has written it since it was read: which of its fields are ours may
    /// have changed with that. istiod raises `failurePolicy` of its webhooks a moment after it is ready.
    async fn changed_since(&self, desired: &Desired, live: &Value, error: &Error, reads: usize) -> Option<Value> {
        if reads == READS || !matches!(error.fault(), Some(ApiError::FieldConflict(_))) {
            return None;
        }
        let now = self.cluster.get_as(desired.kind().ok()?, &desired.object).await.ok()??;
        (now["metadata"]["resourceVersion"] != live["metadata"]["resourceVersion"]).then_some(now)
    }
}

/// In a dry run the API server validates an object by the CRD as it is, not as the set changes it. So a rejection does not
/// mean that the write fails too.
fn unjudged(planned: Planned, instead: impl FnOnce() -> Decision) -> Planned {
    match &planned.decision {
        Decision::Fail(error) if planned.desired.redefined && matches!(error.fault(), Some(ApiError::Refused(_))) => {
            let note = "not checked by a dry run, as its CRD changes in the same set".to_owned();
            Planned { decision: instead(), note: Some(note), ..planned }
        }
        _ => planned,
    }
}

/// The patch that clears fields, if it changes the object: of a field that is set to null, the default may come back.
async fn clears(cluster: &Cluster, desired: &Desired, live: &Value) -> Option<Value> {
    let patch = clearing::patch(&desired.body, live)?;
    let answer = cluster.merge(desired.kind().ok()?, &desired.object, &patch, true).await.ok()?;
    diff::differs(live, &answer).then_some(patch)
}

async fn decide_absent(
    cluster: &Cluster,
    desired: &Desired,
    options: &ApplyOptions,
    coming: &BTreeSet<String>,
) -> Decision {
    if !options.dry_run {
        return Decision::Create;
    }
    let no_namespace_yet = desired.object.namespace.as_ref().is_some_and(|namespace| coming.contains(namespace));
    if no_namespace_yet {
        return match ask_elsewhere(cluster, desired, options.force).await {
            // The API server answers 500 to some fields that it cannot decode.
            Err(error) if matches!(error.fault(), Some(ApiError::Refused(_) | ApiError::Server(_))) => {
                Decision::Fail(error)
            }
            _ => Decision::Create,
        };
    }
    match ask(cluster, desired, options.force).await {
        Ok(_) => Decision::Create,
        Err(error) => Decision::Fail(error),
    }
}

/// Whose fields are taken over, or stay.
fn note(live: &Value, desired: &Desired, taken: Option<&TakeOver>, options: &ApplyOptions) -> Option<String> {
    if let Some(taken) = taken {
        let others: Vec<_> = taken.managers.iter().filter(|manager| *manager != FIELD_MANAGER).cloned().collect();
        let managers = others.join(", ");
        return (!others.is_empty()).then(|| {
            format!("takes over the fields of {managers}: those that the manifest does not have are removed")
        });
    }
    let remaining = takeover::remaining(live, &desired.object.api_version, options);
    (!remaining.is_empty()).then(|| {
        let managers = remaining.join(", ");
        let switch = if remaining.iter().all(|one| takeover::is_kubectl(one)) { "force or adopt" } else { "adopt" };
        format!("fields of {managers} that the manifest does not have stay; set {switch} to take them over")
    })
}

/// The object as it is and as it would be, where they differ by what we want. If another client writes between the
/// read and the dry run, both are repeated, so that its change is not reported as ours.
async fn difference(
    cluster: &Cluster,
    desired: &Desired,
    live: &Value,
    options: &ApplyOptions,
    taken: &[String],
    clears: bool,
) -> Result<Option<(Value, Value)>, Error> {
    let mut live = live.clone();
    let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
    let mut reads = 1;
    loop {
        let answer = match ask(cluster, desired, options.force).await {
            // The two requests cannot be tried out together: the answer shows what is cleared only.
            Err(_) if clears => {
                let patch = clearing::patch(&desired.body, &live).unwrap_or_default();
                cluster.merge(desired.kind()?, &desired.object, &patch, true).await?
            }
            // Conflicts with managers whose fields are taken over go with the takeover.
            Err(error) if conflicts_only_with(&error, taken) => ask(cluster, desired, true).await?,
            answer => answer?,
        };
        if !diff::differs(&live, &answer) {
            return Ok(None);
        }
        if version(&live) == version(&answer) || reads == READS {
            return Ok(Some((live, answer)));
        }
        let Some(now) = cluster.get(&desired.object).await? else { return Ok(Some((live, answer))) };
        live = now;
        reads += 1;
    }
}

fn conflicts_only_with(error: &Error, managers: &[String]) -> bool {
    match error.fault() {
        Some(ApiError::FieldConflict(conflicts)) => conflicts.iter().all(|one| managers.contains(&one.manager)),
        _ => false,
    }
}

/// Reasons not to touch an object that is there.
fn refusal(cluster: &Cluster, desired: &Desired, live: &Value, id: &str, options: &ApplyOptions) -> Option<Error> {
    if inventory::is_inventory(cluster, &desired.object, live) {
        return Some(Error::IsInventory { object: desired.object.to_string() });
    }
    if !live["metadata"]["deletionTimestamp"].is_null() {
        return Some(Error::StillThere { objects: vec![blocked_by(&desired.object.to_string(), live)], after: None });
    }
    let owner = ownership::other_owner(live, id).filter(|_| !options.adopt)?;
    Some(Error::Owned { object: desired.object.to_string(), owner })
}

/// An object that is being deleted, with what blocks it.
pub(super) fn blocked_by(object: &str, live: &Value) -> String {
    let finalizers = live["metadata"]["finalizers"].as_array().map_or(&[][..], Vec::as_slice);
    let names: Vec<_> = finalizers.iter().filter_map(Value::as_str).collect();
    let mut text = object.to_owned();
    if !names.is_empty() {
        text = format!("{text}, blocked by finalizers {}", names.join(", "));
    }
    let conditions = live["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    let reasons: Vec<_> = conditions
        .iter()
        .filter(|one| one["status"] == "True" && one["type"].as_str().is_some_and(is_about_deletion))
        .filter_map(|one| one["message"].as_str())
        .collect();
    if !reasons.is_empty() {
        text = format!("{text} ({})", reasons.join("; "));
    }
    text
}

/// Conditions of Namespaces and CRDs that say why their deletion takes long.
fn is_about_deletion(condition: &str) -> bool {
    matches!(
        condition,
        "NamespaceDeletionDiscoveryFailure"
            | "NamespaceDeletionGroupVersionParsingFailure"
            | "NamespaceDeletionContentFailure"
            | "NamespaceContentRemaining"
            | "NamespaceFinalizersRemaining"
            | "Terminating"
    )
}

async fn ask(cluster: &Cluster, desired: &Desired, force: bool) -> Result<Value, Error> {
    let how = Apply { force, dry_run: true };
    cluster.patch(desired.kind()?, &desired.object, &desired.body, how).await
}

/// The same for an object whose namespace does not exist yet: in a namespace that exists, under a name that is free
/// there. Only what is wrong with the object itself counts, as quotas, policies and rights are another namespace's.
async fn ask_elsewhere(cluster: &Cluster, desired: &Desired, force: bool) -> Result<Value, Error> {
    let mut moved = desired.clone();
    moved.object.namespace = Some(STAND_IN.to_owned());
    moved.object.name = format!("{}-dry-run", desired.object.name);
    moved.body["metadata"]["namespace"] = json!(moved.object.namespace);
    moved.body["metadata"]["name"] = json!(moved.object.name);
    ask(cluster, &moved, force).await
}

/// Classifies a rejected dry run.
fn after_refusal(desired: &Desired, live: &Value, options: &ApplyOptions, error: Error) -> Decision {
    let seen = Seen::of(live, &[]);
    let error = with_limit_of_recreate(desired, &seen, error);
    match error.fault() {
        Some(ApiError::Immutable(_)) if may_recreate(desired, &seen, options) => Decision::Recreate(seen),
        // A webhook with side effects rejects dry runs, so the write decides.
        Some(ApiError::Refused(text)) if text.contains("dry run") && !options.dry_run => Decision::Patch(seen),
        // The write moves the managers' entries to this version and repeats.
        Some(fault)
            if fault.is_undeclared_field() && takeover::in_version(live, &desired.object.api_version).is_some() =>
        {
            Decision::Patch(seen)
        }
        // The object has changed since it was read; the write reads it again.
        Some(ApiError::FieldConflict(_)) if is_contested(desired) && !options.dry_run => Decision::Patch(seen),
        _ => Decision::Fail(error),
    }
}

/// The remedy of an immutable field is to recreate the object: the error says where that is not done.
pub(super) fn with_limit_of_recreate(desired: &Desired, seen: &Seen, error: Error) -> Error {
    match (limit_of_recreate(desired, seen), error) {
        (Some(limit), Error::Request { verb, object, fault: ApiError::Immutable(text) }) => {
            Error::Request { verb, object, fault: ApiError::Immutable(format!("{text}; {limit}")) }
        }
        (_, error) => error,
    }
}

/// Whether the caller's consent to recreate covers this object.
pub(super) fn may_recreate(desired: &Desired, seen: &Seen, options: &ApplyOptions) -> bool {
    options.recreate && limit_of_recreate(desired, seen).is_none()
}

/// Why the object is not recreated, whatever the options.
fn limit_of_recreate(desired: &Desired, seen: &Seen) -> Option<String> {
    let kind = &desired.object.kind;
    if never_recreated(desired.object.group(), kind) {
        return Some(format!(
            "a {kind} is never recreated, because this would delete data that the manifest does not contain"
        ));
    }
    let claim = seen.bound_to.as_ref().filter(|_| kind == "PersistentVolume" && desired.object.group().is_empty())?;
    Some(format!(
        "it is not recreated, because it is bound to claim {claim}: it would be terminating until the claim is deleted"
    ))
}
