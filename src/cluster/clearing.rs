//! Fields that a manifest clears: those it sets to null, a strategy's settings of another type, the defaulted source of a
//! volume, the copy of a pod's service account. Server-side apply removes only what its manager owns, so a defaulted
//! `rollingUpdate` would stay and be refused beside `Recreate`. `kubectl apply` (client side) clears the first three, by
//! nulls in its patch and by `retainKeys`. Pure.

use serde_json::{Map, Value, json};

use super::FIELD_MANAGER;
use super::managed_fields::{entries, owns};

/// Kinds with a strategy whose settings belong to one type of it: kind, field, and the type that has settings.
const STRATEGIES: [(&str, &str); 3] =
    [("Deployment", "strategy"), ("StatefulSet", "updateStrategy"), ("DaemonSet", "updateStrategy")];
const SETTINGS: &str = "rollingUpdate";

/// Where the pods of a kind are described, below its `spec`.
fn pods(kind: &str) -> &'static [&'static str] {
    match kind {
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" => &["template", "spec"],
        "CronJob" => &["jobTemplate", "spec", "template", "spec"],
        _ => &[],
    }
}

/// The merge patch that clears fields of the live object; `None` when there is nothing to clear. Beside a cleared field it
/// has the wanted plain values of the same map, as one may be valid only with the other.
pub(super) fn patch(wanted: &Value, live: &Value) -> Option<Value> {
    let mut wanted = wanted.clone();
    let kind = wanted["kind"].as_str().unwrap_or_default().to_owned();
    let kind = kind.as_str();
    if let Some((_, field)) = STRATEGIES.iter().find(|(of, _)| *of == kind)
        && let Some(Value::Object(strategy)) = wanted["spec"].get_mut(field)
        && strategy.get("type").is_some_and(|of| of != "RollingUpdate")
    {
        strategy.entry(SETTINGS).or_insert(Value::Null);
    }
    let at = pods(kind);
    let mut volumes = None;
    if !at.is_empty()
        && let (Some(pod), Some(live_pod)) = (below_mut(&mut wanted["spec"], at), below(&live["spec"], at))
    {
        let mut place = vec!["f:spec".to_owned()];
        place.extend(at.iter().map(|field| format!("f:{field}")));
        clear_service_account(pod, live_pod, live, &place);
        volumes = without_default_sources(pod, live_pod, live, &place);
    }
    let mut patch = clear(wanted.get("spec")?, live.get("spec")?).unwrap_or_else(|| json!({}));
    if let Some(volumes) = volumes {
        let pod = at.iter().fold(&mut patch, |value, field| &mut value[*field]);
        pod["volumes"] = volumes;
    }
    patch.as_object().is_some_and(|patch| !patch.is_empty()).then(|| json!({ "spec": patch }))
}

fn below<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, field| value.get(*field))
}

fn below_mut<'a>(value: &'a mut Value, path: &[&str]) -> Option<&'a mut Map<String, Value>> {
    path.iter().try_fold(value, |value, field| value.get_mut(*field))?.as_object_mut()
}

/// The API server copies `serviceAccountName` to the deprecated `serviceAccount`, which has no owner, and reads it from there
/// when the first is removed.
fn clear_service_account(pod: &mut Map<String, Value>, live_pod: &Value, live: &Value, place: &[String]) {
    const NAMES: [&str; 2] = ["serviceAccountName", "serviceAccount"];
    let others = |name: &&str| {
        let field = [place, &[format!("f:{name}")]].concat();
        entries(live).iter().any(|entry| entry["manager"] != FIELD_MANAGER && owns(entry, &field))
    };
    let is_wanted = NAMES.iter().any(|name| pod.contains_key(*name));
    if live_pod.get("serviceAccount").is_some() && !is_wanted && !NAMES.iter().any(others) {
        pod.extend(NAMES.map(|name| (name.to_owned(), Value::Null)));
    }
}

/// The live volumes, with those replaced that have the default source (an empty directory) beside the one that is wanted.
fn without_default_sources(
    pod: &Map<String, Value>,
    live_pod: &Value,
    live: &Value,
    place: &[String],
) -> Option<Value> {
    const DEFAULT: &str = "emptyDir";
    let wanted = pod.get("volumes")?.as_array()?;
    let mut volumes = live_pod.get("volumes")?.as_array()?.clone();
    let mut changed = false;
    for one in wanted.iter().filter(|one| one.get(DEFAULT).is_none()) {
        let (Some(name), Some(source)) = (one.get("name"), one.as_object()) else { continue };
        let key = format!("k:{}", json!({ "name": name }));
        let field = [place, &["f:volumes".to_owned(), key, format!("f:{DEFAULT}")]].concat();
        let live_one = volumes.iter_mut().find(|live| live["name"] == *name && live.get(DEFAULT).is_some());
        if let Some(live_one) = live_one
            && source.len() > 1
            && !entries(live).iter().any(|entry| owns(entry, &field))
        {
            *live_one = one.clone();
            changed = true;
        }
    }
    changed.then_some(Value::Array(volumes))
}

fn clear(wanted: &Value, live: &Value) -> Option<Value> {
    let (Value::Object(wanted), Value::Object(live)) = (wanted, live) else { return None };
    let mut patch = Map::new();
    let mut clears = false;
    for (key, value) in wanted {
        let Some(live) = live.get(key) else { continue };
        if value.is_null() && !is_empty(live) {
            patch.insert(key.clone(), Value::Null);
            clears = true;
        } else if let Some(below) = clear(value, live) {
            patch.insert(key.clone(), below);
        }
    }
    if clears {
        let plain =
            wanted.iter().filter(|(_, value)| matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_)));
        patch.extend(plain.map(|(key, value)| (key.clone(), value.clone())));
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_of_another_strategy_are_cleared_together_with_its_type() {
        let live = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}}}});
        let wanted = json!({"kind": "Deployment", "spec": {"paused": true, "strategy": {"type": "Recreate"}}});
        let expected = json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}});
        assert_eq!(patch(&wanted, &live), Some(expected.clone()));
        let explicit = json!({"kind": "X", "spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}});
        assert_eq!(patch(&explicit, &live), Some(expected));
        let done = json!({"spec": {"strategy": {"type": "Recreate"}}});
        assert_eq!(patch(&wanted, &done), None);
    }

    #[allow(clippy::needless_pass_by_value, reason = "tests write the values in place")]
    fn deployment(pod: Value) -> Value {
        json!({"kind": "Deployment", "spec": {"template": {"spec": pod}}})
    }

    #[test]
    fn the_default_source_of_a_volume_is_cleared_for_another_one() {
        let live = deployment(json!({"volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "emptyDir": {}}]}));
        let source = json!({"name": "a", "configMap": {"name": "x"}});
        let wanted = deployment(json!({"volumes": [source, {"name": "b"}]}));
        let volumes = json!([source, {"name": "b", "emptyDir": {}}]);
        let expected = json!({"spec": {"template": {"spec": {"volumes": volumes}}}});
        assert_eq!(patch(&wanted, &live), Some(expected));
        let mut owned = live;
        let fields =
            json!({"f:spec": {"f:template": {"f:spec": {"f:volumes": {r#"k:{"name":"a"}"#: {"f:emptyDir": {}}}}}}});
        owned["metadata"]["managedFields"] = json!([{"manager": FIELD_MANAGER, "fieldsV1": fields}]);
        assert_eq!(patch(&wanted, &owned), None, "the apply itself removes it");
    }

    #[test]
    fn a_service_account_that_left_the_manifest_is_cleared_with_its_copy() {
        let mut live = deployment(json!({"serviceAccountName": "a", "serviceAccount": "a"}));
        let cleared = json!({"spec": {"template": {"spec": {"serviceAccountName": null, "serviceAccount": null}}}});
        assert_eq!(patch(&deployment(json!({})), &live), Some(cleared));
        assert_eq!(patch(&deployment(json!({"serviceAccountName": "b"})), &live), None);
        let fields = json!({"f:spec": {"f:template": {"f:spec": {"f:serviceAccountName": {}}}}});
        live["metadata"]["managedFields"] = json!([{"manager": "other", "fieldsV1": fields}]);
        assert_eq!(patch(&deployment(json!({})), &live), None, "another manager sets it");
    }

    #[test]
    fn only_nulls_of_fields_with_a_value_are_cleared() {
        let wanted = json!({"spec": {"a": null, "b": null, "c": {"d": null, "e": 1}, "f": [{"g": null}]}});
        let live = json!({"spec": {"a": {}, "c": {"d": "x", "e": 2}, "f": [{"g": 1}]}});
        assert_eq!(patch(&wanted, &live), Some(json!({"spec": {"c": {"d": null, "e": 1}}})));
        assert_eq!(patch(&json!({"spec": {"a": 1}}), &live), None);
    }
}
