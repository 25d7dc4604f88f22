//! Compares an object with its live state by `managedFields`, without asking the API server. Pure; what is in doubt is
//! left to a dry run.
//!
//! The format is structured-merge-diff's `fieldsV1`: `f:name` a field, `k:{…}` an item of a keyed list, `v:…` an
//! item of a set, `.` the item itself; an empty map is a leaf, which may be a whole atomic list or map.

use serde_json::{Map, Value};

use super::FIELD_MANAGER;

/// The entries of `managedFields`; none if they are missing.
pub(super) fn entries(live: &Value) -> &[Value] {
    live["metadata"]["managedFields"].as_array().map_or(&[], Vec::as_slice)
}

/// Whether the entry is what we own by server-side apply.
pub(super) fn is_ours(entry: &Value) -> bool {
    entry["manager"] == FIELD_MANAGER && entry["operation"] == "Apply" && entry.get("subresource").is_none()
}

/// Whether the entry has the field at this path of `fieldsV1`, such as `f:spec`, `f:replicas`.
pub(super) fn owns(entry: &Value, path: &[String]) -> bool {
    path.iter().try_fold(&entry["fieldsV1"], |at, name| at.get(name)).is_some()
}

/// What we own of a live object by server-side apply; `None` when we never applied it.
pub(super) fn owned(live: &Value) -> Option<&Value> {
    entries(live).iter().find(|entry| is_ours(entry))?.get("fieldsV1")
}

/// The comparison of an object without a request to the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Comparison {
    /// Every wanted field has its value in the cluster, and we own these fields and no others.
    Same,
    /// The API server may store what is wanted in another form (`0.5` as `500m`), or not at all: a dry run decides.
    Unclear,
    /// A write will change the object or what we own of it.
    Different,
}

/// Compares the wanted object with the live one and our entry in its `managedFields`.
pub(super) fn compare(wanted: &Value, live: &Value) -> Comparison {
    let (Some(Value::Object(owned)), Some(wanted), Some(live)) = (owned(live), wanted.as_object(), live.as_object())
    else {
        return Comparison::Different;
    };
    let texts = if is_text_map(wanted) { Texts::InData } else { Texts::Normalized };
    fields(&without_address(wanted), live, owned, texts)
}

/// How the API server stores strings below a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Texts {
    /// Perhaps in another form than they were sent in.
    Normalized,
    /// As `Normalized`, but verbatim below `data` and `binaryData`.
    InData,
    /// As they were sent.
    Verbatim,
}

impl Texts {
    fn below(self, field: &str) -> Self {
        match (self, field) {
            (_, "labels" | "annotations") | (Self::InData, "data" | "binaryData") | (Self::Verbatim, _) => {
                Self::Verbatim
            }
            _ => Self::Normalized,
        }
    }
}

fn is_text_map(object: &Map<String, Value>) -> bool {
    object.get("apiVersion").is_some_and(|version| version == "v1")
        && object.get("kind").is_some_and(|kind| kind == "ConfigMap" || kind == "Secret")
}

/// apiVersion, kind, name and namespace identify the object and have no field manager.
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

fn fields(
    wanted: &Map<String, Value>,
    live: &Map<String, Value>,
    owned: &Map<String, Value>,
    texts: Texts,
) -> Comparison {
    let mut all = Comparison::Same;
    for (key, value) in wanted {
        all = all.max(match (live.get(key), owned.get(&format!("f:{key}"))) {
            (Some(live), Some(Value::Object(node))) => same(value, live, node, texts.below(key)),
            (None, None) if value.is_string() && texts == Texts::Verbatim => Comparison::Different,
            // It becomes ours too, unless it is of a value that the API server drops.
            (Some(live), None) if value.is_string() && live.is_string() => Comparison::Different,
            // A null of a map of texts is stored as an empty one.
            (None, None) if value.is_null() && texts == Texts::Normalized => Comparison::Same,
            _ => Comparison::Unclear,
        });
    }
    // A field of ours that is not desired is removed, or only loses our ownership.
    let unwanted = |key: &String| key.strip_prefix("f:").is_some_and(|key| !wanted.contains_key(key));
    if owned.keys().any(unwanted) { Comparison::Different } else { all }
}

fn same(wanted: &Value, live: &Value, node: &Map<String, Value>, texts: Texts) -> Comparison {
    if node.is_empty() {
        return match (wanted, live) {
            _ if wanted == live && !wanted.is_null() => Comparison::Same,
            (Value::String(wanted), Value::String(live))
                if texts == Texts::Verbatim || is_stored_verbatim(wanted) && is_stored_verbatim(live) =>
            {
                Comparison::Different
            }
            (Value::Number(wanted), Value::Number(live)) if wanted.is_i64() && live.is_i64() => Comparison::Different,
            (Value::Bool(_), Value::Bool(_)) => Comparison::Different,
            _ => Comparison::Unclear,
        };
    }
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => fields(wanted, live, node, texts),
        (Value::Array(wanted), Value::Array(live)) => items(wanted, live, node, texts),
        _ => Comparison::Unclear,
    }
}

/// Quantities, durations and times are stored in a form of their own; they begin with a digit, a sign or a dot.
fn is_stored_verbatim(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'))
}

/// A keyed list or a set. Order counts: the API server keeps the applied one, and for `env` it has a meaning.
fn items(wanted: &[Value], live: &[Value], node: &Map<String, Value>, texts: Texts) -> Comparison {
    let owned: Vec<_> = node.iter().filter(|(key, _)| *key != ".").collect();
    if owned.len() != wanted.len() {
        return Comparison::Unclear;
    }
    let mut after = 0;
    let mut all = Comparison::Same;
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
        let (Some((key, node)), None) = (matching.next(), matching.next()) else { return Comparison::Unclear };
        let place = live.iter().skip(after).position(|live| match &key {
            Value::Object(key) => key.iter().all(|(k, v)| live.get(k) == Some(v)),
            scalar => live == scalar,
        });
        let Some(place) = place else { return Comparison::Unclear };
        all = all.max(match (item, &live[after + place]) {
            (Value::Object(item), Value::Object(live)) => fields(item, live, node, texts),
            (item, live) if item == live => Comparison::Same,
            _ => Comparison::Unclear,
        });
        after += place + 1;
    }
    all
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
    fn defaulted_fields_are_not_a_difference() {
        let (wanted, live) = deployment();
        assert_eq!(compare(&wanted, &live), Comparison::Same);
    }

    #[test]
    fn a_difference_is_certain_or_left_to_a_dry_run() {
        use Comparison::{Different, Unclear};
        type Change = fn(&mut Value, &mut Value);
        let changes: [(Comparison, Change); 10] = [
            (Different, |wanted, _| wanted["spec"]["replicas"] = json!(3)),
            (Different, |_, live| live["spec"]["template"]["spec"]["containers"][0]["image"] = json!("i:2")),
            (Different, |wanted, _| drop(wanted["spec"].as_object_mut().unwrap().remove("replicas"))),
            (Different, |_, live| drop(live["metadata"].as_object_mut().unwrap().remove("managedFields"))),
            (Different, |wanted, _| wanted["metadata"]["labels"]["new"] = json!("1")),
            (Unclear, |wanted, _| wanted["spec"]["paused"] = json!(true)),
            (Unclear, |wanted, _| wanted["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["b", "a"])),
            (Unclear, |wanted, _| wanted["spec"]["template"]["spec"]["containers"] = json!([])),
            (Unclear, |wanted, _| wanted["spec"]["replicas"] = json!("2")),
            (Unclear, |wanted, live| {
                wanted["spec"]["template"]["spec"]["containers"][0]["image"] = json!("0.5");
                live["spec"]["template"]["spec"]["containers"][0]["image"] = json!("500m");
            }),
        ];
        for (number, (expected, change)) in changes.iter().enumerate() {
            let (mut wanted, mut live) = deployment();
            change(&mut wanted, &mut live);
            assert_eq!(compare(&wanted, &live), *expected, "change {number}");
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
        let compare = |items| compare(&wanted(items), &live);
        assert_eq!(compare(json!(["a/b", "c/d"])), Comparison::Same, "another's item does not matter");
        assert_eq!(compare(json!(["a/b"])), Comparison::Unclear);
        assert_eq!(compare(json!(["c/d", "a/b"])), Comparison::Unclear);
    }
}
