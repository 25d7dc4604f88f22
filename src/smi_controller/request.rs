//! APIs of the kinds that the controller reads and writes, with objects as plain JSON, and a time limit for requests.

use std::future::Future;
use std::time::Duration;

use kube::api::DynamicObject;
use kube::core::gvk::GroupVersionKind;
use kube::discovery::ApiResource;
use kube::{Api, Client};
use serde_json::Value;

use crate::cluster::ApiError;
use crate::smi::{IstioKind, Kind};

/// Longest time for one request. Watches are not requests in this sense.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Sends a request.
///
/// # Errors
/// The cause, in the API server's words.
pub async fn send<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, ApiError> {
    match tokio::time::timeout(TIMEOUT, request).await {
        Ok(answer) => answer.map_err(|error| ApiError::of(&error)),
        Err(_) => Err(ApiError::Timeout(TIMEOUT)),
    }
}

pub fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

pub fn of_smi(kind: Kind) -> ApiResource {
    resource(kind.group(), kind.version(), kind.name(), kind.plural())
}

pub fn of_istio(kind: IstioKind) -> ApiResource {
    resource(kind.group(), "v1", kind.name(), kind.plural())
}

pub fn api(client: &Client, namespace: &str, resource: &ApiResource) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, resource)
}

/// As JSON. `managedFields` are left out: nothing here reads them, and they are the largest part of most objects.
pub fn json(object: DynamicObject) -> Value {
    let mut metadata = object.metadata;
    metadata.managed_fields = None;
    let mut value = object.data;
    if let (Some(fields), Ok(metadata)) = (value.as_object_mut(), serde_json::to_value(metadata)) {
        fields.insert("metadata".to_owned(), metadata);
    }
    value
}
