//! The set to apply, made ready: every object with its kind, namespace and phase, without what only the cluster
//! may write. Talks to the cluster only about kinds.

use std::collections::{HashMap, HashSet};

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use kube::core::DynamicObject;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::discovery::Kind;
use super::locate::{self, Located};
use super::order::{self, Phase};
use super::{Cluster, Error, ObjectRef, server_written};

/// Marks what belongs to an installation: the apply set specification's label (KEP-3659).
pub(super) const PART_OF: &str = "applyset.kubernetes.io/part-of";

/// One object of the set.
#[derive(Debug, Clone)]
pub(super) struct Desired {
    pub object: ObjectRef,
    pub phase: Phase,
    /// `None` when neither the cluster nor the set's CRDs know it.
    pub kind: Option<Kind>,
    /// The cluster will know the kind when the set's CRDs are applied.
    pub pending: bool,
    /// Its CRD changes in the same set, so the API server cannot judge it before.
    pub redefined: bool,
    /// Until when the API server may still judge it by the former CRD.
    pub settles: Option<Instant>,
    pub body: Value,
}

impl Desired {
    /// The kind, for objects that passed the check of kinds.
    pub fn kind(&self) -> Result<&Kind, Error> {
        self.kind.as_ref().ok_or_else(|| self.unknown())
    }

    /// The error for an object whose kind neither the cluster nor the set defines.
    pub fn unknown(&self) -> Error {
        Error::UnknownKind {
            object: self.object.to_string(),
            api_version: self.object.api_version.clone(),
            kind: self.object.kind.clone(),
            near: None,
        }
    }
}

/// Resolves kinds and namespaces. The order does not change.
pub(super) async fn resolve(
    cluster: &Cluster,
    objects: Vec<DynamicObject>,
    namespace: Option<&str>,
) -> Result<Vec<Desired>, Error> {
    let mut bodies = Vec::with_capacity(objects.len());
    let mut coming = HashMap::new();
    for (index, object) in objects.into_iter().enumerate() {
        let (object, body) = identify(index + 1, object)?;
        if object.group() == "apiextensions.k8s.io" {
            for kind in Kind::defined_by(&body) {
                coming.insert((kind.resource.api_version.clone(), kind.resource.kind.clone()), kind);
            }
        }
        bodies.push((object, body));
    }
    let mut seen = HashSet::new();
    let mut set = Vec::with_capacity(bodies.len());
    let mut kinds = HashMap::new();
    for (mut object, mut body) in bodies {
        let name = (object.api_version.clone(), object.kind.clone());
        if !kinds.contains_key(&name) {
            let served = cluster.kind(&object.api_version, &object.kind).await?;
            let pending = served.is_none() && coming.contains_key(&name);
            kinds.insert(name.clone(), (served.or_else(|| coming.get(&name).cloned()), pending));
        }
        let (kind, pending) = kinds.get(&name).cloned().unwrap_or_default();
        if let Some(kind) = &kind {
            object.namespace = kind.place(object.namespace.take(), namespace);
            tidy(&mut body, &object, kind);
        }
        if !seen.insert(object.identity()) {
            return Err(Error::Twice { object: object.to_string() });
        }
        let phase = Phase::of(object.group(), &object.kind);
        set.push(Desired { object, phase, kind, pending, redefined: false, settles: None, body });
    }
    Ok(set)
}

/// The objects of a manifest that are to be deleted, each with its namespace and how its kind is served: in its version
/// or in another one.
pub(super) async fn locate(
    cluster: &Cluster,
    objects: Vec<DynamicObject>,
    namespace: Option<&str>,
) -> Result<Vec<(Located, ObjectRef)>, Error> {
    let mut kinds: HashMap<(String, String), Located> = HashMap::new();
    let mut all = Vec::with_capacity(objects.len());
    for (index, object) in objects.into_iter().enumerate() {
        let (mut object, _) = identify(index + 1, object)?;
        let name = (object.api_version.clone(), object.kind.clone());
        let located = match kinds.get(&name) {
            Some(known) => known.clone(),
            None => kinds.entry(name).or_insert(locate::kind(cluster, &object).await?).clone(),
        };
        let located = match located {
            // A review or a binding is never stored.
            Located::Served(kind) if !kind.applicable => Located::Gone,
            Located::Served(kind) => {
                object.namespace = kind.place(object.namespace.take(), namespace);
                Located::Served(kind)
            }
            other => other,
        };
        all.push((located, object));
    }
    Ok(all)
}

fn identify(number: usize, object: DynamicObject) -> Result<(ObjectRef, Value), Error> {
    let missing = |field| Error::Incomplete { number, field };
    let types = object.types.clone().ok_or_else(|| missing("kind"))?;
    let name = object.metadata.name.clone().filter(|name| !name.is_empty()).ok_or_else(|| missing("metadata.name"))?;
    let namespace = object.metadata.namespace.clone().filter(|namespace| !namespace.is_empty());
    let body = serde_json::to_value(object).map_err(|_| missing("readable content"))?;
    Ok((ObjectRef { api_version: types.api_version, kind: types.kind, namespace, name }, body))
}

/// Removes what only the cluster may write, sets the namespace, and encodes what the API server would store in another
/// shape, so that comparing stays exact.
fn tidy(body: &mut Value, object: &ObjectRef, kind: &Kind) {
    server_written::strip(body);
    if order::builtin(object.group()) {
        drop_nulls_in_lists(body, false);
    }
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        match &object.namespace {
            Some(namespace) => metadata.insert("namespace".to_owned(), json!(namespace)),
            None => metadata.remove("namespace"),
        };
    }
    if let Some(fields) = body.as_object_mut() {
        if kind.status_apart {
            fields.remove("status");
        }
        match (object.api_version.as_str(), object.kind.as_str()) {
            ("v1", "Secret") => {
                encode(fields);
                canonical(fields.get_mut("data"));
            }
            ("v1", "ConfigMap") => canonical(fields.get_mut("binaryData")),
            _ => {}
        }
    }
}

/// Removes nulls from the items of lists, as templates leave them. A null in a key field (`protocol`) makes the API server
/// take the item for another one than the live item, whose key field has the default.
fn drop_nulls_in_lists(value: &mut Value, in_list: bool) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| drop_nulls_in_lists(item, true)),
        Value::Object(fields) => {
            if in_list {
                fields.retain(|_, value| !value.is_null());
            }
            fields.values_mut().for_each(|value| drop_nulls_in_lists(value, in_list));
        }
        _ => {}
    }
}

/// Moves `stringData` of a Secret into `data`, as the API server does; a key in both has the value of `stringData`.
/// Templates leave either of them null or empty. What has the wrong type stays where it is, so that the API server
/// names the field that the manifest has.
fn encode(secret: &mut Map<String, Value>) {
    for field in ["data", "stringData"] {
        if secret.get(field).is_some_and(Value::is_null) {
            secret.remove(field);
        }
    }
    if secret.get("data").is_some_and(|data| !data.is_object()) {
        return;
    }
    let Some(Value::Object(plain)) = secret.get_mut("stringData") else { return };
    let text = |value: &Value| value.is_string() || value.is_null();
    let (texts, wrong): (Map<_, _>, Map<_, _>) = std::mem::take(plain).into_iter().partition(|(_, value)| text(value));
    if wrong.is_empty() {
        secret.remove("stringData");
    } else {
        *plain = wrong;
    }
    if texts.is_empty() {
        return;
    }
    if let Value::Object(data) = secret.entry("data").or_insert_with(|| json!({})) {
        for (key, value) in texts {
            // A null is stored as an empty value.
            data.insert(key, json!(STANDARD.encode(value.as_str().unwrap_or_default())));
        }
    }
}

/// Writes base64 as the API server stores it: manifests break it into lines. A value that is not base64 stays, and the API
/// server rejects it.
fn canonical(data: Option<&mut Value>) {
    let lenient = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    let engine = GeneralPurpose::new(&alphabet::STANDARD, lenient);
    for value in data.and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
        let Some(text) = value.as_str() else { continue };
        let one_line: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
        if let Ok(bytes) = engine.decode(&one_line) {
            *value = json!(STANDARD.encode(bytes));
        }
    }
}

/// Sets the membership label.
pub(super) fn label(body: &mut Value, id: &str) {
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        let labels = metadata.entry("labels").or_insert_with(|| json!({}));
        if labels.is_null() {
            *labels = json!({});
        }
        if let Some(labels) = labels.as_object_mut() {
            labels.insert(PART_OF.to_owned(), json!(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(mut secret: Value) -> Value {
        encode(secret.as_object_mut().unwrap());
        secret
    }

    #[test]
    fn string_data_overrides_data() {
        let secret = json!({"data": {"a": "b2xk", "b": "a2VlcA=="}, "stringData": {"a": "new"}});
        assert_eq!(encoded(secret), json!({"data": {"a": "bmV3", "b": "a2VlcA=="}}));
    }

    #[test]
    fn string_data_is_stored_beside_an_empty_or_null_data() {
        let stored = json!({"data": {"a": "bmV3"}});
        for data in [json!(null), json!({})] {
            assert_eq!(encoded(json!({"data": data, "stringData": {"a": "new"}})), stored, "data: {data}");
        }
        assert_eq!(encoded(json!({"data": {"a": "bmV3"}, "stringData": null})), stored);
        assert_eq!(encoded(json!({"data": {"a": "bmV3"}, "stringData": {}})), stored);
        assert_eq!(encoded(json!({"data": null, "stringData": null})), json!({}));
        assert_eq!(encoded(json!({"stringData": {"a": null}})), json!({"data": {"a": ""}}), "as the API server does");
    }

    #[test]
    fn values_of_the_wrong_type_are_left_to_the_api_server() {
        let secret = json!({"data": "x", "stringData": {"a": "new"}});
        assert_eq!(encoded(secret.clone()), secret);
        let number = json!({"stringData": {"port": 80, "a": "new"}});
        assert_eq!(encoded(number), json!({"stringData": {"port": 80}, "data": {"a": "bmV3"}}));
        let text = json!({"stringData": "x"});
        assert_eq!(encoded(text.clone()), text);
    }

    #[test]
    fn nulls_are_dropped_in_the_items_of_lists_only() {
        let mut service = json!({"spec": {"type": null, "ports": [{"port": 80, "protocol": null, "a": {"b": null}}]}});
        drop_nulls_in_lists(&mut service, false);
        assert_eq!(service, json!({"spec": {"type": null, "ports": [{"port": 80, "a": {}}]}}));
    }

    #[test]
    fn base64_is_written_as_the_api_server_stores_it() {
        let mut data = json!({"a": "YWJj\nZGVm\n", "b": "YR==", "c": "%%", "d": null});
        canonical(Some(&mut data));
        assert_eq!(data, json!({"a": "YWJjZGVm", "b": "YQ==", "c": "%%", "d": null}));
    }

    #[test]
    fn the_membership_label_is_set_where_labels_are_null() {
        for labels in [json!(null), json!({})] {
            let mut body = json!({"metadata": {"labels": labels}});
            label(&mut body, "applyset-x-v1");
            assert_eq!(body["metadata"]["labels"][PART_OF], "applyset-x-v1");
        }
    }
}
