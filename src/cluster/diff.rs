//! The difference between a live and a desired object. Pure.

use serde_json::{Value, json};

use super::FieldChange;
use super::managed_fields;

/// The object without what changes by itself or says nothing about it.
fn essence(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        for field in ["status", "apiVersion", "kind"] {
            fields.remove(field);
        }
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["managedFields", "resourceVersion", "generation", "creationTimestamp", "uid"] {
            metadata.remove(field);
        }
    }
    object
}

/// Whether the API server would store something else: other content, or other fields as ours.
pub(super) fn differs(live: &Value, answer: &Value) -> bool {
    essence(live) != essence(answer) || managed_fields::owned(live) != managed_fields::owned(answer)
}

/// The fields that would change, by path. Values of Secrets are hidden, annotations too: `kubectl apply` keeps a copy
/// of the data in one.
pub(super) fn changes(live: &Value, answer: &Value, secret: bool) -> Vec<FieldChange> {
    let mut found = Vec::new();
    walk("", Some(&essence(live)), Some(&essence(answer)), &mut found);
    if secret {
        for change in &mut found {
            if !change.path.starts_with("metadata.labels") {
                for value in [&mut change.from, &mut change.to].into_iter().flatten() {
                    *value = json!("(redacted)");
                }
            }
        }
    }
    found
}

fn walk(path: &str, from: Option<&Value>, to: Option<&Value>, found: &mut Vec<FieldChange>) {
    match (from, to) {
        (from, to) if from == to => {}
        (Some(Value::Object(from)), Some(Value::Object(to))) => {
            for (key, value) in from {
                walk(&field(path, key), Some(value), to.get(key), found);
            }
            for (key, value) in to.iter().filter(|(key, _)| !from.contains_key(*key)) {
                walk(&field(path, key), None, Some(value), found);
            }
        }
        (Some(Value::Array(from)), Some(Value::Array(to))) if named(from) && named(to) => {
            let find = |items: &[Value], name: &Value| items.iter().find(|item| item["name"] == *name).cloned();
            let added = to.iter().filter(|item| find(from, &item["name"]).is_none());
            for item in from.iter().chain(added.clone()) {
                let name = &item["name"];
                let path = format!("{path}[name={}]", name.as_str().unwrap_or_default());
                walk(&path, find(from, name).as_ref(), find(to, name).as_ref(), found);
            }
            let order = |items: &[Value]| items.iter().map(|item| item["name"].clone()).collect::<Value>();
            let (from_order, to_order) = (order(from), order(to));
            if from.len() == to.len() && added.count() == 0 && from_order != to_order {
                found.push(FieldChange { path: path.to_owned(), from: Some(from_order), to: Some(to_order) });
            }
        }
        (from, to) => found.push(FieldChange { path: path.to_owned(), from: from.cloned(), to: to.cloned() }),
    }
}

/// Whether `name` identifies the items of the list.
fn named(items: &[Value]) -> bool {
    let names: std::collections::HashSet<_> = items.iter().filter_map(|item| item["name"].as_str()).collect();
    names.len() == items.len()
}

/// Keys with dots, as labels have, are put in brackets.
fn field(path: &str, key: &str) -> String {
    match (path.is_empty(), key.contains(['.', '/'])) {
        (_, true) => format!("{path}['{key}']"),
        (true, false) => key.to_owned(),
        (false, false) => format!("{path}.{key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_named_by_path() {
        let live = json!({
            "metadata": {"resourceVersion": "1", "labels": {"a/b": "1"}},
            "spec": {"replicas": 1, "containers": [{"name": "app", "image": "i:1"}, {"name": "old"}]},
        });
        let answer = json!({
            "metadata": {"resourceVersion": "2", "labels": {"a/b": "2"}},
            "spec": {"containers": [{"name": "app", "image": "i:2"}, {"name": "new"}]},
        });
        let text: Vec<_> = changes(&live, &answer, false)
            .into_iter()
            .map(|change| format!("{} {:?} {:?}", change.path, change.from.is_some(), change.to.is_some()))
            .collect();
        assert_eq!(
            text,
            [
                "metadata.labels['a/b'] true true",
                "spec.containers[name=app].image true true",
                "spec.containers[name=old] true false",
                "spec.containers[name=new] false true",
                "spec.replicas true false",
            ]
        );
    }

    #[test]
    fn another_order_of_named_items_is_one_change() {
        let list = |names: [&str; 2]| json!({"env": [{"name": names[0]}, {"name": names[1]}]});
        let found = changes(&list(["a", "b"]), &list(["b", "a"]), false);
        assert_eq!(
            found,
            [FieldChange { path: "env".into(), from: Some(json!(["a", "b"])), to: Some(json!(["b", "a"])) }]
        );
    }

    #[test]
    fn secrets_stay_hidden() {
        let found = changes(
            &json!({"data": {"a": "b2xk"}}),
            &json!({"data": {"a": "bmV3", "b": "eA=="}, "metadata": {"annotations": {"last": "bmV3"}}}),
            true,
        );
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(found.len(), 3);
        assert!(!text.contains("b2xk") && !text.contains("bmV3") && !text.contains("eA=="), "{text}");
    }
}
