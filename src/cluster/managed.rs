//! Decides from `managedFields` whether an object is as wanted, without asking the API server. Pure; when in doubt it
//! says no, and a dry run decides.
//!
//! The format is structured-merge-diff's `fieldsV1`: `f:name` a field, `k:{…}` an item of a keyed list, `v:…` an
//! item of a set, `.` the item itself; an empty map is a leaf, which may be a whole atomic list or map.

use serde_json::{Map, Value};

use super::FIELD_MANAGER;

/// What we own of a live object by server-side apply; `None` when we never applied it.
pub(super) fn owned(live: &Value) -> Option<&Value> {
    let entries = live["metadata"]["managedFields"].as_array()?;
    let ours = entries.iter().find(|entry| {
        entry["manager"] == FIELD_MANAGER && entry["operation"] == "Apply" && entry.get("subresource").is_none()
    })?;
    ours.get("fieldsV1")
}

/// Whether every wanted field has its value in the cluster, and we own these fields and no others.
pub(super) fn settled(wanted: &Value, live: &Value) -> bool {
    let (Some(Value::Object(owned)), Some(wanted), Some(live)) = (owned(live), wanted.as_object(), live.as_object())
    else {
        return false;
    };
    fields(&without_address(wanted), live, owned)
}

/// apiVersion, kind, name and namespace are the object's address: nobody owns them.
fn without_address(object: &Map<String, Value>) -> Map<String, Value> {
    let mut object = object.clone();
    object.remove("apiVersion");
    object.remove("kind");
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.remove("name");
        metadata.remove("namespace");
        if metadata.is_empty() {
            object.remove("metadata");
        }
    }
    object
}

fn fields(wanted: &Map<String, Value>, live: &Map<String, Value>, owned: &Map<String, Value>) -> bool {
    let as_wanted = wanted.iter().all(|(key, value)| match (live.get(key), owned.get(&format!("f:{key}"))) {
        (Some(live), Some(Value::Object(node))) => same(value, live, node),
        _ => false,
    });
    as_wanted && owned.keys().filter(|key| *key != ".").count() == wanted.len()
}

fn same(wanted: &Value, live: &Value, node: &Map<String, Value>) -> bool {
    if node.is_empty() {
        return wanted == live && !wanted.is_null();
    }
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => fields(wanted, live, node),
        (Value::Array(wanted), Value::Array(live)) => items(wanted, live, node),
        _ => false,
    }
}

/// A keyed list or a set. Order counts: the API server keeps the applied one, and for `env` it has a meaning.
fn items(wanted: &[Value], live: &[Value], node: &Map<String, Value>) -> bool {
    let owned: Vec<_> = node.iter().filter(|(key, _)| *key != ".").collect();
    if owned.len() != wanted.len() {
        return false;
    }
    let mut after = 0;
    for item in wanted {
        let mut matching = owned.iter().filter_map(|(key, node)| {
            let (kind, text) = key.split_once(':')?;
            let key: Value = serde_json::from_str(text).ok()?;
            let fits = match (kind, &key) {
                ("v", key) => item == key,
                // A key field that the item leaves out was defaulted, such as a port's protocol.
                ("k", Value::Object(key)) => key.iter().all(|(k, v)| item.get(k).is_none_or(|own| own == v)),
                _ => false,
            };
            fits.then_some((key, node.as_object()?))
        });
        let (Some((key, node)), None) = (matching.next(), matching.next()) else { return false };
        let place = live.iter().skip(after).position(|live| match &key {
            Value::Object(key) => key.iter().all(|(k, v)| live.get(k) == Some(v)),
            scalar => live == scalar,
        });
        let Some(place) = place else { return false };
        let same = match (item, &live[after + place]) {
            (Value::Object(item), Value::Object(live)) => fields(item, live, node),
            (item, live) => item == live,
        };
        if !same {
            return false;
        }
        after += place + 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn live(mut object: Value, owned: &Value) -> Value {
        object["metadata"]["managedFields"] = json!([
            {"manager": "kube-controller-manager", "operation": "Update", "fieldsV1": {"f:status": {}}},
            {"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": owned.clone()},
        ]);
        object
    }

    /// As a real API server answers for it: defaults filled in, `protocol` in the port's key.
    fn deployment() -> (Value, Value) {
        let wanted = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "i:1", "args": ["a", "b"], "ports": [{"containerPort": 80}]}]},
            }},
        });
        let mut held = wanted.clone();
        held["metadata"]["uid"] = json!("u");
        held["spec"]["template"]["spec"]["dnsPolicy"] = json!("ClusterFirst");
        held["spec"]["template"]["spec"]["containers"][0]["ports"][0]["protocol"] = json!("TCP");
        let owned = json!({
            "f:metadata": {"f:labels": {"f:app": {}}},
            "f:spec": {"f:replicas": {}, "f:selector": {}, "f:template": {
                "f:metadata": {"f:labels": {"f:app": {}}},
                "f:spec": {"f:containers": {r#"k:{"name":"c"}"#: {".": {}, "f:name": {}, "f:image": {}, "f:args": {},
                    "f:ports": {r#"k:{"containerPort":80,"protocol":"TCP"}"#: {".": {}, "f:containerPort": {}}}}}},
            }},
        });
        (wanted, live(held, &owned))
    }

    #[test]
    fn an_applied_object_is_settled_whatever_was_defaulted() {
        let (wanted, live) = deployment();
        assert!(settled(&wanted, &live));
    }

    #[test]
    fn any_difference_unsettles_it() {
        let changes: [fn(&mut Value, &mut Value); 7] = [
            |wanted, _| wanted["spec"]["replicas"] = json!(3),
            |_, live| live["spec"]["template"]["spec"]["containers"][0]["image"] = json!("i:2"),
            |wanted, _| wanted["metadata"]["labels"]["new"] = json!("x"),
            |wanted, _| drop(wanted["spec"].as_object_mut().unwrap().remove("replicas")),
            |wanted, _| wanted["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["b", "a"]),
            |wanted, _| wanted["spec"]["template"]["spec"]["containers"] = json!([]),
            |_, live| drop(live["metadata"].as_object_mut().unwrap().remove("managedFields")),
        ];
        for (number, change) in changes.iter().enumerate() {
            let (mut wanted, mut live) = deployment();
            change(&mut wanted, &mut live);
            assert!(!settled(&wanted, &live), "change {number}");
        }
    }

    #[test]
    fn sets_are_compared_by_value_and_order() {
        let wanted =
            |items: Value| json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "x", "finalizers": items}});
        let live = live(
            wanted(json!(["other/z", "a/b", "c/d"])),
            &json!({"f:metadata": {"f:finalizers": {".": {}, r#"v:"a/b""#: {}, r#"v:"c/d""#: {}}}}),
        );
        assert!(settled(&wanted(json!(["a/b", "c/d"])), &live), "another's item does not matter");
        assert!(!settled(&wanted(json!(["a/b"])), &live));
        assert!(!settled(&wanted(json!(["c/d", "a/b"])), &live));
    }
}
