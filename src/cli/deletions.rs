//! Commands that delete what is hard to get back: control planes, gateways, namespaces, CRDs. A person is shown the target
//! and what goes, and asked; a script has to say `--yes`.

use std::time::Duration;

use futures::StreamExt as _;
use serde_json::{Value, json};

use super::output::{self, CHANGED, QUIET, STRONG, styled};
use super::{Error, confirm};
use crate::client::{Client, Observed};
use crate::cluster::{Action, ObjectReport};
use crate::error::Problem;
use crate::event::{CommandDraft, ResultData, Target};
use crate::prose::plural;

/// How long the dry run that lists the objects may take.
const LISTING: Duration = Duration::from_mins(1);
/// Objects that are listed one by one.
const LISTED: usize = 30;

/// What a command deletes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Deletion {
    /// In words, such as `every control plane and gateway`.
    pub what: String,
    /// Whether a script has to confirm it too.
    pub needs_consent: bool,
    /// Whether it depends on the objects that the dry run lists.
    pub depends: bool,
}

/// What a command deletes by its parameters; `None` for one that deletes nothing of the kind, and for a dry run.
pub(super) fn of(verb: &str, params: &Value) -> Option<Deletion> {
    if params["dry_run"] == true {
        return None;
    }
    let deletion = |what: String, needs_consent| Some(Deletion { what, needs_consent, depends: false });
    match verb {
        "mesh.uninstall" if params["purge"] == true => deletion(
            "every control plane and gateway, the CRDs of Istio and all objects of their kinds".to_owned(),
            true,
        ),
        "mesh.uninstall" if params["all"] == true => deletion("every control plane and gateway".to_owned(), true),
        "mesh.uninstall" => match params["revision"].as_str() {
            Some(revision) => deletion(format!("the control plane and the gateways of revision {revision}"), false),
            None => deletion("revision tags".to_owned(), false),
        },
        "mesh.install" if params["prune_components"] == true => {
            deletion("gateways and components that the command does not name".to_owned(), false)
        }
        "mesh.upgrade" if params["strategy"] == "canary" && reaches_removal(params) => {
            deletion("the control plane that is replaced".to_owned(), false)
        }
        "config.delete" => Some(Deletion { what: "the objects below".to_owned(), needs_consent: false, depends: true }),
        _ => None,
    }
}

/// The last stage of an upgrade by revision removes the old control plane.
fn reaches_removal(params: &Value) -> bool {
    params["until"].is_null() || params["until"] == "remove"
}

/// Whether the parameters of the command confirm it: they repeat the target's name.
fn is_confirmed(target: &Target, draft: &CommandDraft) -> bool {
    draft.params["confirm"] == target.as_str()
}

/// Refuses a command that needs confirmation when no terminal is attached, unless its parameters confirm it.
///
/// # Errors
/// [`Error::Unconfirmed`].
pub(super) fn refuse_unconfirmed(target: &Target, draft: &CommandDraft, yes: bool) -> Result<(), Error> {
    let confirmed = yes || confirm::can_ask() || is_confirmed(target, draft);
    match of(&draft.verb, &draft.params).filter(|it| it.needs_consent && !confirmed) {
        Some(deletion) => {
            Err(Error::Unconfirmed { what: format!("{} on {target} deletes {}", draft.verb, deletion.what) })
        }
        None => Ok(()),
    }
}

/// Whether the command may be executed: it deletes nothing precious, `--yes` is set, or the user agrees. `rehearse` executes
/// the dry run that lists the objects; `cluster` describes the cluster if it is known.
///
/// # Errors
/// [`Error::Unconfirmed`] when confirmation is needed and no terminal is attached.
pub(super) async fn confirmed(
    target: &Target,
    draft: &CommandDraft,
    cluster: Option<String>,
    yes: bool,
    rehearse: impl AsyncFnOnce(CommandDraft) -> Result<Option<ResultData>, Error>,
) -> Result<bool, Error> {
    let Some(deletion) = of(&draft.verb, &draft.params).filter(|_| !yes) else { return Ok(true) };
    refuse_unconfirmed(target, draft, yes)?;
    if !confirm::can_ask() {
        return Ok(true);
    }
    let mut params = draft.params.clone();
    params["dry_run"] = json!(true);
    output::note(styled(QUIET, format_args!("listing what would be deleted on {target} (dry run)")));
    let rehearsal = CommandDraft { id: uuid::Uuid::new_v4().to_string(), params, ..draft.clone() };
    let listed = Listed::of(rehearse(rehearsal).await?);
    let objects = match &listed {
        Listed::Objects(objects) => objects.as_slice(),
        _ => &[],
    };
    if deletion.depends && matches!(listed, Listed::Objects(_)) && !objects.iter().any(is_precious) {
        return Ok(true);
    }
    output::note(format_args!("{} on {}", styled(STRONG, &draft.verb), styled(STRONG, target)));
    if let Some(cluster) = cluster {
        output::note(format_args!("  cluster: {cluster}"));
    }
    output::note(format_args!("  deletes {}", deletion.what));
    show(&listed);
    confirm::ask("Proceed?")
}

/// The outcome of the dry run.
enum Listed {
    Objects(Vec<ObjectReport>),
    Refused(Problem),
    Unknown,
}

impl Listed {
    fn of(result: Option<ResultData>) -> Self {
        match result {
            None => Self::Unknown,
            Some(ResultData { error: Some(problem), .. }) => Self::Refused(problem),
            Some(ResultData { report, .. }) => {
                let mut objects = Vec::new();
                collect(report.as_ref().unwrap_or(&Value::Null), &mut objects);
                Self::Objects(objects)
            }
        }
    }
}

/// Executes a dry run on a worker. `None` when no worker has answered in time; the command is then cancelled.
///
/// # Errors
/// NATS errors.
pub(super) async fn rehearse_on_worker(
    client: &Client,
    target: &Target,
    rehearsal: CommandDraft,
) -> Result<Option<ResultData>, Error> {
    let sent = client.submit(target, rehearsal).await?;
    let mut events = client.watch_command(&sent.key);
    let result = async {
        while let Some(observation) = events.next().await {
            if let Observed::Result(result) = observation?.observed {
                return Ok(Some(*result));
            }
        }
        Ok::<_, Error>(None)
    };
    let Ok(result) = tokio::time::timeout(LISTING, result).await else {
        client.cancel(&sent.key, crate::client::SOURCE).await.map_err(crate::client::Error::from)?;
        return Ok(None);
    };
    result
}

/// The objects that a report says would be deleted, wherever they are in it.
fn collect(report: &Value, found: &mut Vec<ObjectReport>) {
    match report {
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => match serde_json::from_value::<ObjectReport>(report.clone()) {
            Ok(object) => {
                if matches!(object.action, Action::Deleted | Action::Pruned) {
                    found.push(object);
                }
            }
            Err(_) => fields.values().for_each(|field| collect(field, found)),
        },
        _ => {}
    }
}

/// Kinds whose deletion is asked about: what is in a namespace or of a CRD's kind goes with it, and gateways take
/// traffic.
fn is_precious(object: &ObjectReport) -> bool {
    matches!(object.object.kind.as_str(), "Namespace" | "CustomResourceDefinition" | "Gateway")
}

fn show(listed: &Listed) {
    match listed {
        Listed::Objects(objects) => {
            for object in objects.iter().take(LISTED) {
                output::note(format_args!("    {}", object.object));
            }
            if objects.len() > LISTED {
                output::note(format_args!("    and {}", plural(objects.len() - LISTED, "more object")));
            }
            if objects.is_empty() {
                output::note("    nothing that exists");
            }
        }
        Listed::Refused(problem) => {
            output::note(format_args!("  {} {problem}", styled(CHANGED, "the dry run failed:")));
        }
        Listed::Unknown => output::note("  the dry run did not end in time, so the objects are not known"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deletions_are_recognized_by_their_parameters() {
        let consent = |verb: &str, params: Value| of(verb, &params).map(|it| it.needs_consent);
        assert_eq!(consent("mesh.uninstall", json!({"all": true})), Some(true));
        assert_eq!(consent("mesh.uninstall", json!({"purge": true, "confirm": "dev"})), Some(true));
        assert_eq!(consent("mesh.uninstall", json!({"revision": "one"})), Some(false));
        assert_eq!(consent("mesh.uninstall", json!({"all": true, "dry_run": true})), None);
        assert_eq!(consent("mesh.install", json!({"prune_components": true})), Some(false));
        assert_eq!(consent("mesh.install", json!({})), None);
        assert_eq!(consent("mesh.upgrade", json!({"strategy": "canary", "until": "verify"})), None);
        assert_eq!(consent("mesh.upgrade", json!({"strategy": "canary"})), Some(false));
        assert_eq!(consent("ping", json!({})), None);
    }

    #[test]
    fn deleted_objects_are_found_in_any_report() {
        let object = |name: &str, action: &str| json!({"object": {"api_version": "v1", "kind": "Namespace", "name": name}, "action": action});
        let mut found = Vec::new();
        collect(&json!({"parts": [{"objects": [object("a", "deleted"), object("b", "unchanged")]}]}), &mut found);
        assert_eq!(found.iter().map(|it| it.object.name.as_str()).collect::<Vec<_>>(), ["a"]);
        assert!(is_precious(&found[0]));
    }
}
