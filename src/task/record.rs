//! Records that verbs store in a cluster: JSON under one key of a `ConfigMap` in the inventory namespace, which has the
//! name of its installation.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{DynamicObject, TypeMeta};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::Error;
use crate::cluster::{Cluster, ObjectRef};

/// Reads a record; `None` where there is no such `ConfigMap` or it has no valid record.
pub async fn read<T: DeserializeOwned>(cluster: &Cluster, installation: &str, key: &str) -> Result<Option<T>, Error> {
    let object = ObjectRef {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: Some(cluster.inventory_namespace().to_owned()),
        name: installation.to_owned(),
    };
    let map = cluster.get(&object).await?;
    Ok(map.and_then(|map| serde_json::from_str(map["data"][key].as_str()?).ok()))
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
