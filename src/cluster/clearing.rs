//! Fields that a manifest clears: those it sets to null, and a strategy's settings of another type. Server-side apply
//! removes only what its manager owns, so a defaulted `rollingUpdate` would stay and be refused beside `Recreate`.
//! `kubectl apply` (client side) clears both, by nulls in its patch and by `retainKeys`. Pure.

use serde_json::{Map, Value, json};

/// Kinds with a strategy whose settings belong to one type of it: kind, field, and the type that has settings.
const STRATEGIES: [(&str, &str); 3] =
    [("Deployment", "strategy"), ("StatefulSet", "updateStrategy"), ("DaemonSet", "updateStrategy")];
const SETTINGS: &str = "rollingUpdate";

/// The merge patch that clears fields of the live object; `None` when there is nothing to clear. Beside a cleared field it
/// has the wanted plain values of the same map, as one may be valid only with the other.
pub(super) fn patch(wanted: &Value, live: &Value) -> Option<Value> {
    let mut wanted = wanted.clone();
    let kind = wanted["kind"].as_str().unwrap_or_default();
    if let Some((_, field)) = STRATEGIES.iter().find(|(of, _)| *of == kind)
        && let Some(Value::Object(strategy)) = wanted["spec"].get_mut(field)
        && strategy.get("type").is_some_and(|of| of != "RollingUpdate")
    {
        strategy.entry(SETTINGS).or_insert(Value::Null);
    }
    let patch = clear(wanted.get("spec")?, live.get("spec")?)?;
    Some(json!({ "spec": patch }))
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

    #[test]
    fn only_nulls_of_fields_with_a_value_are_cleared() {
        let wanted = json!({"spec": {"a": null, "b": null, "c": {"d": null, "e": 1}, "f": [{"g": null}]}});
        let live = json!({"spec": {"a": {}, "c": {"d": "x", "e": 2}, "f": [{"g": 1}]}});
        assert_eq!(patch(&wanted, &live), Some(json!({"spec": {"c": {"d": null, "e": 1}}})));
        assert_eq!(patch(&json!({"spec": {"a": 1}}), &live), None);
    }
}
