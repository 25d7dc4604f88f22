//! The labels of a mode, and the changes to a namespace that set them. Pure.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::params::Mode;
use crate::analysis::istio::membership::{AMBIENT, DATAPLANE, INJECTION, LABELS, REVISION};
use crate::cluster::FieldConflict;

/// Owns the labels in `managedFields`.
pub const MANAGER: &str = "sailhand-namespace";
/// Revision of the lease under which the namespace was last written (monotone over all owners).
pub const FENCE: &str = "sailhand.meshery.io/fence";
/// Generation of the newest command that was executed.
pub const GENERATION: &str = "sailhand.meshery.io/generation";
/// Annotation of a restart that is due. Its value is written to the pod templates.
pub const RESTART: &str = "sailhand.meshery.io/restart-due";

/// The labels that a command requests.
#[derive(Debug, Clone, Copy)]
pub struct LabelRequest<'a> {
    /// How it takes part.
    pub mode: &'a Mode,
    /// For [`Mode::Revision`].
    pub revision: Option<&'a str>,
    /// The note of a restart, should a label change.
    pub restart: Option<&'a str>,
    /// Of the command.
    pub generation: Option<u64>,
    /// Of the lease.
    pub fence: u64,
}

/// The planned changes.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// The mesh labels that are there.
    pub before: BTreeMap<String, String>,
    /// The mesh labels that are wanted.
    pub after: BTreeMap<String, String>,
    /// Labels to be changed that others have set.
    pub conflicts: Vec<FieldConflict>,
    /// A merge patch of `metadata`; none when all labels are as requested.
    pub metadata: Option<Value>,
    /// The note of the restart that is due.
    pub due: Option<String>,
}

/// Plans the way from the live namespace (null when there is none) to what is requested.
pub fn plan(live: &Value, request: LabelRequest<'_>) -> Plan {
    let labels = &live["metadata"]["labels"];
    let before: BTreeMap<_, _> =
        LABELS.iter().filter_map(|key| Some(((*key).to_owned(), labels[*key].as_str()?.to_owned()))).collect();
    let after: BTreeMap<_, _> =
        wanted(request).into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let changes: BTreeMap<_, _> =
        LABELS.into_iter().filter(|key| before.get(*key) != after.get(*key)).map(|key| (key, after.get(key))).collect();
    let conflicts = changes.keys().flat_map(|key| owners(live, key)).collect();

    let mut due = request.restart.and(live["metadata"]["annotations"][RESTART].as_str());
    let mut annotations = json!({FENCE: request.fence.to_string()});
    let mut write = live.is_null() || !changes.is_empty();
    if let Some(generation) = request.generation.filter(|own| stored(live, GENERATION).is_none_or(|it| it < *own)) {
        annotations[GENERATION] = generation.to_string().into();
        write = true;
    }
    if !live.is_null()
        && !changes.is_empty()
        && let Some(note) = request.restart
    {
        annotations[RESTART] = note.into();
        due = Some(note);
    }
    // Who finishes the restart of another holder of the lease says so before the first workload.
    write |= due.is_some() && stored(live, FENCE).is_none_or(|it| it < request.fence);
    let metadata = write.then(|| {
        let mut metadata = json!({"labels": changes, "annotations": annotations});
        if let Some(version) = live["metadata"]["resourceVersion"].as_str() {
            metadata["resourceVersion"] = version.into();
        }
        metadata
    });
    Plan { due: due.map(str::to_owned), before, after, conflicts, metadata }
}

/// The number in an annotation of sailhand; `None` if it is missing or not a number. An invalid one is overwritten.
pub fn stored(live: &Value, annotation: &str) -> Option<u64> {
    live["metadata"]["annotations"][annotation].as_str()?.parse().ok()
}

fn wanted(request: LabelRequest<'_>) -> Option<(&'static str, &str)> {
    match request.mode {
        Mode::Enabled => Some((INJECTION, "enabled")),
        Mode::Disabled => Some((INJECTION, "disabled")),
        Mode::Revision => request.revision.map(|revision| (REVISION, revision)),
        Mode::Ambient => Some((DATAPLANE, AMBIENT)),
        Mode::None => None,
    }
}

/// Managers other than ours that have set a label (`managedFields` of meta/v1, `fieldsV1`).
fn owners(live: &Value, label: &str) -> Vec<FieldConflict> {
    let field = format!("f:{label}");
    let entries = live["metadata"]["managedFields"].as_array().into_iter().flatten();
    entries
        .filter(|entry| entry["fieldsV1"]["f:metadata"]["f:labels"].get(&field).is_some())
        .filter_map(|entry| entry["manager"].as_str().filter(|manager| *manager != MANAGER))
        .map(|manager| FieldConflict { field: format!(".metadata.labels.{label}"), manager: manager.to_owned() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: LabelRequest<'_> =
        LabelRequest { mode: &Mode::Enabled, revision: None, restart: None, generation: None, fence: 7 };

    #[allow(clippy::needless_pass_by_value, reason = "tests write the data in place")]
    fn live(labels: Value, annotations: Value, owned: &[(&str, &str)]) -> Value {
        let managed: Vec<_> = owned
            .iter()
            .map(|(manager, label)| {
                json!({"manager": manager, "fieldsV1": {"f:metadata": {"f:labels": {format!("f:{label}"): {}}}}})
            })
            .collect();
        json!({"metadata": {"name": "shop", "resourceVersion": "42", "labels": labels, "annotations": annotations, "managedFields": managed}})
    }

    #[test]
    fn each_mode_removes_the_labels_of_the_others() {
        let all = json!({INJECTION: "disabled", REVISION: "old", DATAPLANE: "x", "other": "stays"});
        for (mode, revision, labels) in [
            (Mode::Enabled, None, json!({INJECTION: "enabled", REVISION: null, DATAPLANE: null})),
            (Mode::Disabled, None, json!({REVISION: null, DATAPLANE: null})),
            (Mode::Revision, Some("1-30"), json!({INJECTION: null, REVISION: "1-30", DATAPLANE: null})),
            (Mode::Ambient, None, json!({INJECTION: null, REVISION: null, DATAPLANE: "ambient"})),
            (Mode::None, None, json!({INJECTION: null, REVISION: null, DATAPLANE: null})),
        ] {
            let plan = plan(&live(all.clone(), json!({}), &[]), LabelRequest { mode: &mode, revision, ..REQUEST });
            let metadata = plan.metadata.unwrap();
            assert_eq!(metadata, json!({"labels": labels, "annotations": {FENCE: "7"}, "resourceVersion": "42"}));
            assert_eq!((plan.before.len(), plan.after.len()), (3, usize::from(mode != Mode::None)));
        }
    }

    #[test]
    fn nothing_is_written_when_labels_are_as_requested() {
        let live = live(json!({INJECTION: "enabled"}), json!({FENCE: "3", GENERATION: "5"}), &[("kubectl", INJECTION)]);
        let request = LabelRequest { restart: Some("now"), generation: Some(5), ..REQUEST };
        let plan = plan(&live, request);
        assert_eq!((plan.metadata, plan.due, plan.conflicts), (None, None, vec![]));
    }

    #[test]
    fn a_newer_generation_is_stored_even_if_nothing_else_changes() {
        let live = live(json!({INJECTION: "enabled"}), json!({GENERATION: "5"}), &[]);
        let annotations = |generation| {
            plan(&live, LabelRequest { generation, ..REQUEST }).metadata.map(|metadata| metadata["annotations"].clone())
        };
        assert_eq!(annotations(Some(6)), Some(json!({FENCE: "7", GENERATION: "6"})));
        assert_eq!(annotations(None), None);
    }

    #[test]
    fn labels_of_others_are_conflicts_only_where_they_change() {
        let live = live(
            json!({INJECTION: "disabled", REVISION: "a"}),
            json!({}),
            &[("kubectl-label", INJECTION), ("argocd", REVISION), (MANAGER, INJECTION), ("kubectl-label", "other")],
        );
        let managers = |mode: Mode, revision| {
            let plan = plan(&live, LabelRequest { mode: &mode, revision, ..REQUEST });
            plan.conflicts.into_iter().map(|one| one.manager).collect::<Vec<_>>()
        };
        assert_eq!(managers(Mode::Enabled, None), ["kubectl-label", "argocd"]);
        assert_eq!(managers(Mode::Disabled, None), ["argocd"]);
        assert_eq!(managers(Mode::Revision, Some("a")), ["kubectl-label"]);
    }

    #[test]
    fn a_restart_is_noted_with_the_change_and_found_again() {
        let restart = LabelRequest { restart: Some("now"), ..REQUEST };
        let changed = plan(&live(json!({}), json!({}), &[]), restart);
        assert_eq!(changed.metadata.unwrap()["annotations"][RESTART], "now");
        assert_eq!(changed.due.as_deref(), Some("now"));

        let cut_short = live(json!({INJECTION: "enabled"}), json!({RESTART: "then", FENCE: "7"}), &[]);
        let found = plan(&cut_short, restart);
        assert_eq!((found.metadata, found.due.as_deref()), (None, Some("then")));
        let by_the_next_holder = plan(&cut_short, LabelRequest { fence: 8, ..restart });
        assert_eq!(by_the_next_holder.metadata.unwrap()["annotations"], json!({FENCE: "8"}));
        assert_eq!(by_the_next_holder.due.as_deref(), Some("then"));
        assert_eq!(plan(&cut_short, REQUEST).due, None);
    }

    #[test]
    fn a_new_namespace_has_nothing_to_restart() {
        let plan = plan(&Value::Null, LabelRequest { restart: Some("now"), ..REQUEST });
        let labels = json!({INJECTION: "enabled"});
        assert_eq!(plan.metadata.unwrap(), json!({"labels": labels, "annotations": {FENCE: "7"}}));
        assert_eq!(plan.due, None);
    }
}
