//! Records that verbs store in a cluster: JSON under one key of a `ConfigMap` in the inventory namespace, which has the
//! name of its installation.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{DynamicObject, TypeMeta};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::Error;
use super::connection::ConnectionError;
use crate::cluster::{Cluster, ObjectRef};

/// Reads a record; `None` where there is no such `ConfigMap`.
///
/// # Errors
/// [`ConnectionError::CorruptRecord`] for a `ConfigMap` without a valid record: reading it as none would forget what an
/// earlier command has made.
pub async fn read<T: DeserializeOwned>(cluster: &Cluster, installation: &str, key: &str) -> Result<Option<T>, Error> {
    let object = ObjectRef::new("v1", "ConfigMap", Some(cluster.inventory_namespace()), installation);
    let Some(map) = cluster.get(&object).await? else { return Ok(None) };
    let corrupt =
        |reason: String| ConnectionError::CorruptRecord { object: object.to_string(), key: key.to_owned(), reason };
    let text = map["data"][key].as_str().ok_or_else(|| corrupt("it is missing".to_owned()))?;
    Ok(Some(serde_json::from_str(text).map_err(|error| corrupt(error.to_string()))?))
}

/// The `ConfigMap` with a record, to be applied.
pub fn object(cluster: &Cluster, installation: &str, key: &str, record: &impl Serialize) -> DynamicObject {
    DynamicObject {
        types: Some(TypeMeta { api_version: "v1".to_owned(), kind: "ConfigMap".to_owned() }),
        metadata: ObjectMeta {
            name: Some(installation.to_owned()),
            namespace: Some(cluster.inventory_namespace().to_owned()),
            ..ObjectMeta::default()
        },
        data: json!({ "data": { key: serde_json::to_string(record).unwrap_or_default() } }),
    }
}
