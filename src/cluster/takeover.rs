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

/// What there is to take over of a live object with these options; `None` when there is nothing. The live object has to
/// be in the version `api_version`.
pub(super) fn plan(live: &Value, api_version: &str, options: &ApplyOptions) -> Option<TakeOver> {
    let entries = managed_fields::entries(live);
    let taken = |entry: &&Value| {
        let manager = entry["manager"].as_str().unwrap_or_default();
        entry.get("subresource").is_none()
            && (manager == FIELD_MANAGER && entry["operation"] == "Update"
                || (options.force || options.adopt) && KUBECTL.contains(&manager)
                || options.adopt && TOOLS.contains(&manager))
    };
    let managers: Vec<_> =
        entries.iter().filter(taken).filter_map(|entry| entry["manager"].as_str().map(str::to_owned)).collect();
    if managers.is_empty() {
        return None;
    }
    let ours = entries.iter().find(|entry| is_ours(entry));
    // The API server converts what one manager owns in another version itself; our entry has one version only.
    let version = match ours.map(|ours| &ours["apiVersion"]) {
        Some(version) if entries.iter().filter(taken).all(|entry| entry["apiVersion"] == *version) => version.clone(),
        _ => json!(api_version),
    };
    let mut fields = json!({});
    for entry in ours.into_iter().chain(entries.iter().filter(taken)) {
        if entry["apiVersion"] == version {
            merge(&mut fields, &entry["fieldsV1"]);
        } else {
            merge(&mut fields, &present(&entry["fieldsV1"], live));
        }
    }
    let mut entry = ours.cloned().unwrap_or_else(|| json!({ "manager": FIELD_MANAGER, "operation": "Apply" }));
    entry["apiVersion"] = version;
    entry["fieldsType"] = json!("FieldsV1");
    entry["fieldsV1"] = fields;
    let others = entries.iter().filter(|entry| !is_ours(entry) && !taken(entry)).cloned();
    let mut live = live.clone();
    live["metadata"]["managedFields"] = std::iter::once(entry).chain(others).collect();
    Some(TakeOver { managers, live })
}

/// Those of the fields that the object has. The fields are of another version of the kind: one that has another name in
/// the object's version is not among them, so that it has no owner any more, as after `kubectl apply --server-side`.
fn present(fields: &Value, object: &Value) -> Value {
    let below = |(name, fields): (&String, &Value)| {
        if name == "." {
            return Some((name.clone(), fields.clone()));
        }
        let left = present(fields, part(name, object)?);
        // Without its last field a map would become a leaf, which stands for the whole map.
        (is_leaf(fields) || !is_leaf(&left)).then(|| (name.clone(), left))
    };
    Value::Object(fields.as_object().into_iter().flatten().filter_map(below).collect())
}

fn is_leaf(fields: &Value) -> bool {
    fields.as_object().is_none_or(Map::is_empty)
}

/// The part of a value that an element of a path in `fieldsV1` names.
fn part<'a>(element: &str, value: &'a Value) -> Option<&'a Value> {
    let (of, text) = element.split_once(':')?;
    let key = || serde_json::from_str::<Value>(text).ok();
    match of {
        "f" => value.get(text),
        "i" => value.get(text.parse::<usize>().ok()?),
        "v" => key().and_then(|key| value.as_array()?.iter().find(|item| **item == key)),
        "k" => {
            let key = key()?;
            let key = key.as_object()?;
            value.as_array()?.iter().find(|item| key.iter().all(|(name, value)| item.get(name) == Some(value)))
        }
        _ => None,
    }
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
    fn managed_fields_are_merged_by_manager_into_one_version() {
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
    fn only_fields_that_the_object_has_are_taken_over_from_another_version() {
        let adopt = ApplyOptions { adopt: true, ..ApplyOptions::default() };
        let port = r#"k:{"port":80}"#;
        let mut object = live(json!([entry(
            "helm",
            "Update",
            json!({
                "f:metadata": {"f:finalizers": {r#"v:"a/b""#: {}, r#"v:"c/d""#: {}}},
                "f:spec": {"f:same": {}, "f:former": {}, "f:ports": {port: {".": {}, "f:name": {}, "f:former": {}}},
                           "f:gone": {"f:former": {}}},
            }),
        )]));
        object["metadata"]["finalizers"] = json!(["a/b"]);
        object["spec"] = json!({"same": 1, "renamed": 2, "ports": [{"port": 80, "name": "http"}], "gone": {}});
        let taken = plan(&object, "v2", &adopt).unwrap();
        let entry = &taken.managed_fields()[0];
        assert_eq!(entry["apiVersion"], "v2");
        let kept = json!({
            "f:metadata": {"f:finalizers": {r#"v:"a/b""#: {}}},
            "f:spec": {"f:same": {}, "f:ports": {port: {".": {}, "f:name": {}}}},
        });
        assert_eq!(entry["fieldsV1"], kept);
    }

    #[test]
    fn our_entry_keeps_an_older_version_when_all_fields_are_of_it() {
        let adopt = ApplyOptions { adopt: true, ..ApplyOptions::default() };
        let ours = entry(FIELD_MANAGER, "Apply", json!({"f:spec": {"f:former": {}}}));
        let helm = entry("helm", "Update", json!({"f:spec": {"f:other": {}}}));
        let mut object = live(json!([ours, helm]));
        object["spec"] = json!({"other": 1});
        let taken = plan(&object, "v2", &adopt).unwrap();
        assert_eq!(taken.managed_fields()[0]["apiVersion"], "v1");
        assert_eq!(taken.managed_fields()[0]["fieldsV1"], json!({"f:spec": {"f:former": {}, "f:other": {}}}));

        object["metadata"]["managedFields"][1]["apiVersion"] = json!("v2");
        let taken = plan(&object, "v2", &adopt).unwrap();
        assert_eq!(taken.managed_fields()[0]["apiVersion"], "v2");
        assert_eq!(taken.managed_fields()[0]["fieldsV1"], json!({"f:spec": {"f:other": {}}}));
    }
}
