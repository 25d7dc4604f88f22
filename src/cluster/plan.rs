//! Decides for each object of a set what has to be done, reading and asking but writing nothing.

use std::collections::{BTreeSet, HashMap};

use futures::{StreamExt, stream};
use serde_json::{Value, json};

use super::connection::Apply;
use super::fault::Fault;
use super::options::ApplyOptions;
use super::order::precious;
use super::wanted::Wanted;
use super::write::is_contested;
use super::{Cluster, Error, FieldChange, diff, foreign, live, managed, ownership};

/// Requests about single objects at once: enough to keep an API server busy, not enough to be throttled by its
/// priority and fairness.
pub(super) const PARALLEL: usize = 16;
/// Reads of an object that others keep writing before their changes are taken for part of the difference.
const READS: usize = 3;
/// The namespace in which objects are tried by dry run whose own does not exist yet. Every cluster has it.
const STAND_IN: &str = "default";

/// An object and what to do about it.
pub(super) struct Planned {
    pub wanted: Wanted,
    pub decision: Decision,
    /// What would change; only filled for a dry run.
    pub diff: Vec<FieldChange>,
}

/// What to do.
#[derive(Debug)]
pub(super) enum Decision {
    /// It is as wanted.
    Keep,
    /// It is not there.
    Create,
    /// It is there and differs.
    Write(Seen),
    /// It differs in what cannot be changed, and may be replaced.
    Recreate(Seen),
    /// Its kind comes with a CRD of the same set: decide when that is there.
    Later,
    /// It cannot be done.
    Fail(Error),
}

/// The live object a decision was made on.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub uid: String,
    pub resource_version: String,
}

impl Decision {
    /// Whether carrying it out writes to the cluster.
    pub const fn writes(&self) -> bool {
        !matches!(self, Self::Keep | Self::Fail(_))
    }
}

impl Seen {
    fn of(live: &Value) -> Self {
        let text = |key: &str| live["metadata"][key].as_str().unwrap_or_default().to_owned();
        Self { uid: text("uid"), resource_version: text("resourceVersion") }
    }
}

/// Plans a set for the installation with the apply set `id`. Namespaces in `coming` are not there yet.
pub(super) async fn plan(
    cluster: &Cluster,
    set: Vec<Wanted>,
    id: &str,
    options: &ApplyOptions,
    coming: &BTreeSet<String>,
) -> Result<Vec<Planned>, Error> {
    let known = set.iter().enumerate().filter(|(_, wanted)| !wanted.pending);
    let reads: Vec<_> =
        known.filter_map(|(number, wanted)| Some((number, wanted.kind.clone()?, wanted.object.clone()))).collect();
    let mut live: HashMap<usize, Value> = live::read(cluster, reads).await?.into_iter().collect();
    let mut coming = coming.clone();
    if options.dry_run {
        let absent = set.iter().enumerate().filter(|(number, _)| !live.contains_key(number));
        coming.extend(absent.filter(|(_, one)| one.object.kind == "Namespace").map(|(_, one)| one.object.name.clone()));
    }
    let decisions: Vec<_> = set
        .into_iter()
        .enumerate()
        .map(|(number, wanted)| decide(cluster, wanted, live.remove(&number), id, options, &coming))
        .collect();
    Ok(stream::iter(decisions).buffered(PARALLEL).collect().await)
}

async fn decide(
    cluster: &Cluster,
    mut wanted: Wanted,
    live: Option<Value>,
    id: &str,
    options: &ApplyOptions,
    coming: &BTreeSet<String>,
) -> Planned {
    if wanted.pending {
        let decision = if options.dry_run { Decision::Create } else { Decision::Later };
        return Planned { wanted, decision, diff: Vec::new() };
    }
    let owned = live.as_ref().and_then(managed::owned);
    foreign::leave(&mut wanted.body, live.as_ref());
    let mut diff = Vec::new();
    let decision = match &live {
        None if !options.dry_run => Decision::Create,
        None if wanted.object.namespace.as_ref().is_some_and(|namespace| coming.contains(namespace)) => {
            match ask_elsewhere(cluster, &wanted, options).await {
                // The API server answers 500 to some fields that it cannot decode.
                Err(error) if matches!(error.fault(), Some(Fault::Refused(_) | Fault::Server(_))) => {
                    Decision::Fail(error)
                }
                _ => Decision::Create,
            }
        }
        None => match ask(cluster, &wanted, options).await {
            Ok(_) => Decision::Create,
            Err(error) => Decision::Fail(error),
        },
        Some(live) => match refusal(&wanted, live, id, options) {
            Some(error) => Decision::Fail(error),
            None if owned.is_none() && !options.dry_run => Decision::Write(Seen::of(live)),
            None if managed::settled(&wanted.body, live) => Decision::Keep,
            None => match difference(cluster, &wanted, live, options).await {
                Ok(Some((live, answer))) => {
                    if options.dry_run {
                        diff = diff::changes(&live, &answer, wanted.object.kind == "Secret");
                    }
                    Decision::Write(Seen::of(&live))
                }
                Ok(None) => Decision::Keep,
                Err(error) => after_refusal(&wanted, live, options, error),
            },
        },
    };
    Planned { wanted, decision, diff }
}

/// The object as it is and as it would be, where they differ by what we want. Somebody else may write between the read
/// and the dry run: that is not ours to report or to repeat, so both are done again.
async fn difference(
    cluster: &Cluster,
    wanted: &Wanted,
    live: &Value,
    options: &ApplyOptions,
) -> Result<Option<(Value, Value)>, Error> {
    let mut live = live.clone();
    let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
    let mut reads = 1;
    loop {
        let answer = ask(cluster, wanted, options).await?;
        if !diff::differs(&live, &answer) {
            return Ok(None);
        }
        if version(&live) == version(&answer) || reads == READS {
            return Ok(Some((live, answer)));
        }
        let Some(now) = cluster.get(&wanted.object).await? else { return Ok(Some((live, answer))) };
        live = now;
        reads += 1;
    }
}

/// Reasons not to touch an object that is there.
fn refusal(wanted: &Wanted, live: &Value, id: &str, options: &ApplyOptions) -> Option<Error> {
    if !live["metadata"]["deletionTimestamp"].is_null() {
        return Some(Error::StillThere { objects: vec![held(&wanted.object.to_string(), live)] });
    }
    let owner = ownership::other_owner(live, id).filter(|_| !options.adopt)?;
    Some(Error::Owned { object: wanted.object.to_string(), owner })
}

/// An object that is being deleted, with what holds it.
pub(super) fn held(object: &str, live: &Value) -> String {
    let finalizers = live["metadata"]["finalizers"].as_array().map_or(&[][..], Vec::as_slice);
    let names: Vec<_> = finalizers.iter().filter_map(Value::as_str).collect();
    if names.is_empty() { object.to_owned() } else { format!("{object}, held by finalizers {}", names.join(", ")) }
}

async fn ask(cluster: &Cluster, wanted: &Wanted, options: &ApplyOptions) -> Result<Value, Error> {
    let how = Apply { force: options.force, dry_run: true };
    cluster.patch(wanted.kind()?, &wanted.object, &wanted.body, how).await
}

/// The same for an object whose namespace does not exist yet: in a namespace that exists, under a name that is free
/// there. Only what is wrong with the object itself counts, as quotas, policies and rights are another namespace's.
async fn ask_elsewhere(cluster: &Cluster, wanted: &Wanted, options: &ApplyOptions) -> Result<Value, Error> {
    let mut moved = wanted.clone();
    moved.object.namespace = Some(STAND_IN.to_owned());
    moved.object.name = format!("{}-dry-run", wanted.object.name);
    moved.body["metadata"]["namespace"] = json!(moved.object.namespace);
    moved.body["metadata"]["name"] = json!(moved.object.name);
    ask(cluster, &moved, options).await
}

/// What a refused dry run means.
fn after_refusal(wanted: &Wanted, live: &Value, options: &ApplyOptions, error: Error) -> Decision {
    match error.fault() {
        Some(Fault::Immutable(_)) if may_recreate(wanted, options) => Decision::Recreate(Seen::of(live)),
        // A webhook with side effects cannot be asked: the write itself tells.
        Some(Fault::Refused(text)) if text.contains("dry run") && !options.dry_run => Decision::Write(Seen::of(live)),
        // Somebody wrote since it was read; the write looks again.
        Some(Fault::FieldConflict(_)) if is_contested(wanted) && !options.dry_run => Decision::Write(Seen::of(live)),
        _ => Decision::Fail(error),
    }
}

/// Whether the caller's consent to recreate covers this object.
pub(super) fn may_recreate(wanted: &Wanted, options: &ApplyOptions) -> bool {
    options.recreate && !precious(wanted.object.group(), &wanted.object.kind)
}
