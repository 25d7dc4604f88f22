//! Converts JSON values to Kubernetes objects: expands lists and rejects values that no API server accepts. Whether a kind
//! exists or has namespaces is checked later, by the cluster.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{DynamicObject, TypeMeta};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Error, Limit, MAX_OBJECTS, Place};

/// Fields of `metadata` that people write (`ObjectMeta` of meta/v1).
const META_FIELDS: &[&str] = &["name", "namespace", "labels", "annotations", "finalizers", "ownerReferences"];
/// Fields of `metadata` that only a server writes.
const SERVER_FIELDS: &[&str] = &[
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Adds the object, or a list's items, to `objects`. How deep lists nest is bounded by the depth of the document.
pub fn unfold(value: Value, place: Place, objects: &mut Vec<(DynamicObject, Place)>) -> Result<(), Error> {
    let refuse = |reason: String| Error::NotAnObject { place, reason };
    let Value::Object(mut fields) = value else {
        return Err(refuse("the document is not a mapping".to_owned()));
    };
    let api_version = take_string(&mut fields, "apiVersion").map_err(refuse)?;
    let kind = take_string(&mut fields, "kind").map_err(refuse)?;
    check_type(&api_version, &kind).map_err(refuse)?;
    if is_list(&kind, &fields) {
        let item_kind = kind.strip_suffix("List").filter(|kind| !kind.is_empty());
        let Value::Array(items) = fields.remove("items").unwrap_or_else(|| Value::Array(Vec::new())) else {
            return Err(refuse(format!("items of the {kind} is not a sequence")));
        };
        for mut item in items {
            if let (Some(item_kind), Some(item)) = (item_kind, item.as_object_mut()) {
                item.entry("apiVersion").or_insert_with(|| Value::String(api_version.clone()));
                item.entry("kind").or_insert_with(|| Value::String(item_kind.to_owned()));
            }
            unfold(item, place, objects)?;
        }
        return Ok(());
    }
    if objects.len() == MAX_OBJECTS {
        return Err(Error::TooLarge { limit: Limit::Objects, most: MAX_OBJECTS });
    }
    let metadata = metadata(fields.remove("metadata"), &kind).map_err(refuse)?;
    let types = Some(TypeMeta { api_version, kind });
    objects.push((DynamicObject { types, metadata, data: Value::Object(fields) }, place));
    Ok(())
}

/// Group, kind, namespace and name. The version is not part of an object's identity.
pub fn identity(object: &DynamicObject) -> (String, String, Option<String>, String) {
    let types = object.types.as_ref();
    let group = types.and_then(|types| types.api_version.split_once('/')).map_or("", |(group, _)| group);
    (
        group.to_owned(),
        types.map(|types| types.kind.clone()).unwrap_or_default(),
        object.metadata.namespace.clone(),
        object.metadata.name.clone().unwrap_or_default(),
    )
}

/// The object as a person would name it.
pub fn describe(object: &DynamicObject) -> String {
    let (_, kind, namespace, name) = identity(object);
    namespace.map_or_else(|| format!("{kind} {name}"), |namespace| format!("{kind} {namespace}/{name}"))
}

/// `kind: List` always; another `…List` only when it looks like one, as a CRD may have such a kind of its own.
fn is_list(kind: &str, fields: &Map<String, Value>) -> bool {
    let named = fields.get("metadata").and_then(|metadata| metadata.get("name")).is_some();
    kind == "List" || kind.ends_with("List") && !named && fields.get("items").is_some_and(Value::is_array)
}

fn take_string(fields: &mut Map<String, Value>, field: &str) -> Result<String, String> {
    match fields.remove(field) {
        Some(Value::String(value)) if !value.is_empty() => Ok(value),
        Some(Value::String(_) | Value::Null) | None => Err(format!("{field} is missing")),
        Some(_) => Err(format!("{field} is not a string")),
    }
}

/// Both become parts of a URL's path.
fn check_type(api_version: &str, kind: &str) -> Result<(), String> {
    let word = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
    };
    let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
    if !word(group) || !word(version) {
        return Err(format!("apiVersion {api_version:?} is not <group>/<version>"));
    }
    if !kind.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(format!("kind {kind:?} is not a word"));
    }
    Ok(())
}

fn metadata(metadata: Option<Value>, kind: &str) -> Result<ObjectMeta, String> {
    let Some(Value::Object(mut fields)) = metadata else {
        return Err(format!("metadata of the {kind} is missing"));
    };
    if fields.contains_key("generateName") && !fields.contains_key("name") {
        return Err(format!(
            "the {kind} has metadata.generateName, which makes a new object on each run; give it metadata.name"
        ));
    }
    fields.remove("generateName");
    fields.retain(|field, _| !SERVER_FIELDS.contains(&field.as_str()));
    for map in ["labels", "annotations"] {
        let values = fields.get_mut(map).and_then(Value::as_object_mut);
        // Templates leave values empty; the API server stores a null as an empty string.
        for (name, value) in values.into_iter().flatten() {
            match value {
                Value::Null => *value = Value::String(String::new()),
                Value::String(_) => {}
                Value::Array(_) => return Err(format!("metadata.{map}.{name} of the {kind} is a list, not a string")),
                Value::Object(_) => return Err(format!("metadata.{map}.{name} of the {kind} is a map, not a string")),
                scalar => {
                    return Err(format!("metadata.{map}.{name} of the {kind} is {scalar}, not a string; quote it"));
                }
            }
        }
    }
    if let Some(unknown) = fields.keys().find(|field| !META_FIELDS.contains(&field.as_str())) {
        return Err(format!("metadata.{unknown} of the {kind} is not a field of Kubernetes"));
    }
    let metadata = ObjectMeta::deserialize(Value::Object(fields))
        .map_err(|error| format!("metadata of the {kind} cannot be used: {error}"))?;
    let name = metadata.name.as_deref().unwrap_or_default();
    if name.is_empty() {
        return Err(format!("metadata.name of the {kind} is missing"));
    }
    // Path segment names of apimachinery's `path.ValidatePathSegmentName`: some kinds allow more than DNS names.
    if name.len() > 253 {
        return Err(format!("metadata.name of the {kind} has {} bytes, and a name has at most 253", name.len()));
    }
    if name == "." || name == ".." || name.contains(['/', '%']) || name.contains(char::is_control) {
        return Err(format!("metadata.name {name:?} of the {kind} is not a name"));
    }
    if metadata.namespace.as_deref().is_some_and(|namespace| !is_dns_label(namespace)) {
        return Err(format!("metadata.namespace of {kind} {name} is not a DNS label of at most 63 characters"));
    }
    Ok(metadata)
}

fn is_dns_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}
