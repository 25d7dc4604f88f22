//! Takes over the fields of tools that applied an object before: kubectl, Helm, Argo CD, Flux, istioctl. Their entries in
//! `managedFields` are merged into ours, so that the next apply removes the fields that the set does not have. This is
//! what `kubectl apply --server-side` (client-go `csaupgrade`) and Flux (`ssa.FieldManager`) do. Our own updates, which clear
//! fields, are taken over in any case. Pure.

use serde_json::{Map, Value, json};

use super::managed_fields::is_ours;
use super::options::ApplyOptions;
use super::{FIELD_MANAGER, managed_fields};

/// Field managers of kubectl that write a whole manifest. `kubectl edit`, `label` and the like write single fields.
const KUBECTL: [&str; 5] =
    ["kubectl", "kubectl-client-side-apply", "kubectl-create", "kubectl-replace", "before-first-apply"];

/// Field managers of the tools whose objects `adopt` takes over.
const TOOLS: [&str; 9] = [
    "helm",
    "Helm",
    "argocd-controller",
    "argocd-application-controller",
    "argocd-server",
    "kustomize-controller",
    "helm-controller",
    "istio-operator",
    "istioctl",
];

/// An object after its earlier managers' fields are ours.
pub(super) struct TakeOver {
    /// The managers whose fields are taken.
    pub managers: Vec<String>,
    /// The live object with the new `managedFields`.
    pub live: Value,
}

impl TakeOver {
    /// The new `managedFields`.
    pub fn managed_fields(&self) -> &Value {
        &self.live["metadata"]["managedFields"]
    }
}

/// What there is to take over of a live object with these options; `None` when there is nothing. Entries of another
/// version of the kind stay: their fields may have other names in ours.
pub(super) fn plan(live: &Value, api_version: &str, options: &ApplyOptions) -> Option<TakeOver> {
    let entries = managed_fields::entries(live);
    let taken = |entry: &&Value| {
        let manager = entry["manager"].as_str().unwrap_or_default();
        entry.get("subresource").is_none()
            && entry["apiVersion"] == api_version
            && (manager == FIELD_MANAGER && entry["operation"] == "Update"
                || (options.force || options.adopt) && KUBECTL.contains(&manager)
                || options.adopt && TOOLS.contains(&manager))
    };
    let managers: Vec<_> =
        entries.iter().filter(taken).filter_map(|entry| entry["manager"].as_str().map(str::to_owned)).collect();
    if managers.is_empty() {
        return None;
    }
    let mut ours = match entries.iter().find(|entry| is_ours(entry)) {
        // The entry of a manager that applies has one version.
        Some(ours) if ours["apiVersion"] != api_version => return None,
        Some(ours) => ours.clone(),
        None => json!({
            "manager": FIELD_MANAGER, "operation": "Apply", "apiVersion": api_version,
            "fieldsType": "FieldsV1", "fieldsV1": {},
        }),
    };
    for entry in entries.iter().filter(taken) {
        merge(&mut ours["fieldsV1"], &entry["fieldsV1"]);
    }
    let others = entries.iter().filter(|entry| !is_ours(entry) && !taken(entry)).cloned();
    let mut live = live.clone();
    live["metadata"]["managedFields"] = std::iter::once(ours).chain(others).collect();
    Some(TakeOver { managers, live })
}

/// Whether the manager is kubectl with a whole manifest, whose fields `force` takes over too.
pub(super) fn is_kubectl(manager: &str) -> bool {
    KUBECTL.contains(&manager)
}

/// The earlier appliers that would be taken over with `force` or `adopt`, where neither is set.
pub(super) fn remaining(live: &Value, api_version: &str, options: &ApplyOptions) -> Vec<String> {
    let all = ApplyOptions { force: true, adopt: true, ..options.clone() };
    if options.force || options.adopt {
        return Vec::new();
    }
    let mut managers = plan(live, api_version, &all).map_or_else(Vec::new, |take_over| take_over.managers);
    managers.retain(|manager| manager != FIELD_MANAGER);
    managers
}

/// `managedFields` with all entries in this version of the kind; `None` when they are in it already. A field that another
/// version adds with a default is in the live object and not in the schema of an older entry's version: the API server
/// then refuses to apply. Flux does the same (`MigrateAPIVersion` of fluxcd/pkg/ssa).
pub(super) fn in_version(live: &Value, api_version: &str) -> Option<Value> {
    let entries = managed_fields::entries(live);
    if entries.iter().all(|entry| entry["apiVersion"] == api_version) {
        return None;
    }
    let mut all: Vec<Value> = Vec::with_capacity(entries.len());
    for entry in entries {
        let is_same = |other: &&mut Value| {
            ["manager", "operation", "subresource"].iter().all(|key| other.get(key) == entry.get(key))
        };
        if let Some(same) = all.iter_mut().find(is_same) {
            merge(&mut same["fieldsV1"], &entry["fieldsV1"]);
        } else {
            let mut entry = entry.clone();
            entry["apiVersion"] = json!(api_version);
            all.push(entry);
        }
    }
    Some(Value::Array(all))
}

/// The union of two sets of fields.
fn merge(into: &mut Value, from: &Value) {
    let Some(from) = from.as_object() else { return };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    let Some(into) = into.as_object_mut() else { return };
    for (field, below) in from {
        merge(into.entry(field.clone()).or_insert_with(|| json!({})), below);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::needless_pass_by_value, reason = "tests write the fields in place")]
    fn entry(manager: &str, operation: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": fields})
    }

    #[allow(clippy::needless_pass_by_value, reason = "tests write the entries in place")]
    fn live(entries: Value) -> Value {
        json!({"metadata": {"managedFields": entries}})
    }

    #[test]
    fn kubectl_fields_become_ours_with_force() {
        let force = ApplyOptions { force: true, ..ApplyOptions::default() };
        let live = live(json!([
            entry("kubectl-client-side-apply", "Update", json!({"f:data": {".": {}, "f:legacy": {}}})),
            entry("kubectl-edit", "Update", json!({"f:data": {"f:edited": {}}})),
            entry(FIELD_MANAGER, "Apply", json!({"f:data": {"f:a": {}}})),
        ]));
        assert!(plan(&live, "v1", &ApplyOptions::default()).is_none(), "only with consent");
        assert_eq!(remaining(&live, "v1", &ApplyOptions::default()), ["kubectl-client-side-apply"]);
        let taken = plan(&live, "v1", &force).unwrap();
        assert_eq!(taken.managers, ["kubectl-client-side-apply"]);
        let after = taken.managed_fields();
        assert_eq!(after[0]["fieldsV1"], json!({"f:data": {".": {}, "f:legacy": {}, "f:a": {}}}));
        assert_eq!(after[1]["manager"], "kubectl-edit");
        assert_eq!(after.as_array().unwrap().len(), 2);
        assert!(plan(&taken.live, "v1", &force).is_none(), "once");
    }

    #[test]
    fn fields_of_other_tools_need_adopt() {
        let live = live(json!([
            entry("helm", "Update", json!({"f:data": {"f:a": {}}})),
            entry("kustomize-controller", "Apply", json!({"f:data": {"f:b": {}}})),
            {"manager": "helm", "operation": "Update", "apiVersion": "v1", "subresource": "status", "fieldsV1": {}},
        ]));
        let force = ApplyOptions { force: true, ..ApplyOptions::default() };
        let adopt = ApplyOptions { adopt: true, ..ApplyOptions::default() };
        assert!(plan(&live, "v1", &force).is_none());
        let taken = plan(&live, "v1", &adopt).unwrap();
        assert_eq!(taken.managers, ["helm", "kustomize-controller"]);
        assert_eq!(taken.managed_fields()[0]["fieldsV1"], json!({"f:data": {"f:a": {}, "f:b": {}}}));
        assert_eq!(taken.managed_fields()[1]["subresource"], "status");
    }

    #[test]
    fn entries_move_to_one_version_and_those_of_one_manager_are_joined() {
        let mut old = entry(FIELD_MANAGER, "Apply", json!({"f:spec": {"f:a": {}}}));
        let edits = ["v1", "v2"].map(|version| {
            let mut edit = entry("kubectl-edit", "Update", json!({"f:spec": {format!("f:{version}"): {}}}));
            edit["apiVersion"] = json!(version);
            edit
        });
        old["apiVersion"] = json!("v1");
        let moved = in_version(&live(json!([old, edits[0], edits[1]])), "v2").unwrap();
        assert_eq!(moved.as_array().unwrap().len(), 2);
        assert!(moved.as_array().unwrap().iter().all(|entry| entry["apiVersion"] == "v2"));
        assert_eq!(moved[1]["fieldsV1"], json!({"f:spec": {"f:v1": {}, "f:v2": {}}}));
        assert_eq!(in_version(&live(moved), "v2"), None);
    }

    #[test]
    fn entries_of_another_version_stay() {
        let adopt = ApplyOptions { adopt: true, ..ApplyOptions::default() };
        let old = live(json!([entry("helm", "Update", json!({"f:data": {}}))]));
        assert!(plan(&old, "v2", &adopt).is_none());
    }
}
