//! The set to apply, made ready: every object with its kind, namespace and phase, without what only the cluster
//! may write. Talks to the cluster only about kinds.

use std::collections::{HashMap, HashSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::core::DynamicObject;
use serde_json::{Map, Value, json};

use super::discovery::Kind;
use super::order::Phase;
use super::{Cluster, Error, ObjectRef};

/// Marks what belongs to an installation: the apply set specification's label (KEP-3659).
pub(super) const PART_OF: &str = "applyset.kubernetes.io/part-of";

/// One object of the set.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub object: ObjectRef,
    pub phase: Phase,
    /// `None` when neither the cluster nor the set's CRDs know it.
    pub kind: Option<Kind>,
    /// The cluster will know the kind when the set's CRDs are applied.
    pub pending: bool,
    pub body: Value,
}

impl Wanted {
    /// The kind, for objects that passed the check of kinds.
    pub fn kind(&self) -> Result<&Kind, Error> {
        self.kind.as_ref().ok_or_else(|| self.unknown())
    }

    /// The error of an object whose kind nobody knows.
    pub fn unknown(&self) -> Error {
        Error::UnknownKind {
            object: self.object.to_string(),
            api_version: self.object.api_version.clone(),
            kind: self.object.kind.clone(),
        }
    }
}

/// Resolves kinds and namespaces. Order is kept.
pub(super) async fn resolve(
    cluster: &Cluster,
    objects: Vec<DynamicObject>,
    namespace: Option<&str>,
) -> Result<Vec<Wanted>, Error> {
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
            object.namespace = match object.namespace.take() {
                _ if !kind.namespaced => None,
                Some(own) => Some(own),
                None => Some(namespace.unwrap_or("default").to_owned()),
            };
            tidy(&mut body, &object, kind);
        }
        if !seen.insert(object.identity()) {
            return Err(Error::Twice { object: object.to_string() });
        }
        let phase = Phase::of(object.group(), &object.kind);
        set.push(Wanted { object, phase, kind, pending, body });
    }
    Ok(set)
}

fn identify(number: usize, object: DynamicObject) -> Result<(ObjectRef, Value), Error> {
    let missing = |field| Error::Incomplete { number, field };
    let types = object.types.clone().ok_or_else(|| missing("kind"))?;
    let name = object.metadata.name.clone().filter(|name| !name.is_empty()).ok_or_else(|| missing("metadata.name"))?;
    let namespace = object.metadata.namespace.clone().filter(|namespace| !namespace.is_empty());
    let body = serde_json::to_value(object).map_err(|_| missing("readable content"))?;
    Ok((ObjectRef { api_version: types.api_version, kind: types.kind, namespace, name }, body))
}

/// Leaves out what a dump of a live object carries and only the cluster may say, and what it would store in another
/// shape than it was sent in, so that comparing stays exact.
fn tidy(body: &mut Value, object: &ObjectRef, kind: &Kind) {
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in [
            "managedFields",
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
            "selfLink",
        ] {
            metadata.remove(field);
        }
        match &object.namespace {
            Some(namespace) => metadata.insert("namespace".to_owned(), json!(namespace)),
            None => metadata.remove("namespace"),
        };
    }
    for metadata in ["/metadata", "/spec/template/metadata"] {
        drop_empty(body.pointer_mut(metadata));
    }
    if let Some(fields) = body.as_object_mut() {
        if kind.status_apart {
            fields.remove("status");
        }
        if object.api_version == "v1" && object.kind == "Secret" {
            encode(fields);
        }
    }
}

/// An empty map of annotations says nothing when an object is made, and claims the map when others have put some into
/// it since: the same set would be written a second time.
fn drop_empty(metadata: Option<&mut Value>) {
    let Some(metadata) = metadata.and_then(Value::as_object_mut) else { return };
    for map in ["annotations", "labels"] {
        let is_empty = |value: &Value| value.is_null() || value.as_object().is_some_and(Map::is_empty);
        if metadata.get(map).is_some_and(is_empty) {
            metadata.remove(map);
        }
    }
}

/// `stringData` is for writing only: the API server turns it into `data`, and so do we.
fn encode(secret: &mut Map<String, Value>) {
    let Some(Value::Object(plain)) = secret.remove("stringData") else { return };
    let data = secret.entry("data").or_insert_with(|| json!({}));
    if let Some(data) = data.as_object_mut() {
        for (key, value) in plain {
            let coded = value.as_str().map_or(value.clone(), |text| json!(STANDARD.encode(text)));
            data.insert(key, coded);
        }
    }
}

/// Sets the membership label.
pub(super) fn label(body: &mut Value, id: &str) {
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        let labels = metadata.entry("labels").or_insert_with(|| json!({}));
        if let Some(labels) = labels.as_object_mut() {
            labels.insert(PART_OF.to_owned(), json!(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn string_data_becomes_data_and_wins_over_it() {
        let mut secret = json!({"data": {"a": "b2xk", "b": "a2VlcA=="}, "stringData": {"a": "new"}});
        encode(secret.as_object_mut().unwrap());
        assert_eq!(secret, json!({"data": {"a": "bmV3", "b": "a2VlcA=="}}));
    }
}
