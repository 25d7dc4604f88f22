//! Writes and deletes translated objects. Only objects of the controller are ever replaced or deleted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::Client;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use serde_json::Value;

use super::FIELD_MANAGER;
use super::request::{api, json, of_istio, send};
use super::stores::Stores;
use crate::cluster::ApiError;
use crate::smi::{Existing, IstioKind, IstioObject};

type Key = (IstioKind, String, String);
type Digest = [u8; 32];

/// Writes and deletes translated objects.
pub struct Writer {
    client: Client,
    /// Objects that the API server stores otherwise than they were sent: the digests of what was sent and of what is
    /// stored. Without this, they would be written again and again.
    stored_as: Mutex<HashMap<Key, (Digest, Digest)>>,
}

impl Writer {
    pub fn new(client: Client) -> Self {
        Self { client, stored_as: Mutex::default() }
    }

    /// Whether the cluster has the object as it was translated.
    pub fn is_settled(&self, wanted: &IstioObject, existing: Option<&Existing>) -> bool {
        let Some(existing) = existing.filter(|existing| existing.managed) else { return false };
        let digest = wanted.digest();
        digest == existing.digest || self.stored_as(&key(wanted)) == Some((digest, existing.digest))
    }

    fn stored_as(&self, key: &Key) -> Option<(Digest, Digest)> {
        self.stored_as.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    /// Forgets objects that are no longer wanted.
    pub fn retain(&self, is_wanted: impl Fn(&Key) -> bool) {
        self.stored_as.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| is_wanted(key));
    }

    /// Server-side apply. Fields that others added to an object of ours are removed: a rule that another client adds to a policy
    /// would allow more than the `TrafficTarget`.
    ///
    /// # Errors
    /// The cause, in the API server's words.
    pub async fn apply(&self, wanted: &IstioObject, is_ours: bool, stores: &Stores) -> Result<(), ApiError> {
        let api = api(&self.client, &wanted.namespace, &of_istio(wanted.kind));
        let body = wanted.body();
        // Without force, an object that another client created at the same time is a conflict.
        let params = PatchParams { force: is_ours, ..PatchParams::apply(FIELD_MANAGER) };
        let mut live = send(api.patch(&wanted.name, &params, &Patch::Apply(&body))).await?;
        let digest = wanted.digest();
        let mut existing = read(wanted.kind, &live);
        if existing.as_ref().is_some_and(|existing| existing.digest != digest) {
            live.data["spec"] = wanted.spec.clone();
            live.metadata.managed_fields = None;
            let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
            live = send(api.replace(&wanted.name, &params, &live)).await?;
            existing = read(wanted.kind, &live);
        }
        if let Some(existing) = existing {
            if existing.digest != digest {
                let mut known = self.stored_as.lock().unwrap_or_else(PoisonError::into_inner);
                known.insert(key(wanted), (digest, existing.digest));
            }
            // The watch says the same a moment later; until then a second pass must not write again.
            let place = (wanted.namespace.clone(), wanted.name.clone());
            stores.existing(wanted.kind).put(place, Some(Arc::new(existing)));
        }
        Ok(())
    }

    /// Deletes an object of the controller, unless another one has its name by now.
    ///
    /// # Errors
    /// The cause, in the API server's words.
    pub async fn delete(&self, existing: &Existing, stores: &Stores) -> Result<(), ApiError> {
        let api = api(&self.client, &existing.namespace, &of_istio(existing.kind));
        let preconditions = Preconditions { uid: Some(existing.uid.clone()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match send(api.delete(&existing.name, &params)).await {
            Ok(_) | Err(ApiError::NotFound(_) | ApiError::NotServed | ApiError::Conflict(_)) => {
                let place = (existing.namespace.clone(), existing.name.clone());
                stores.existing(existing.kind).put(place, None);
                Ok(())
            }
            Err(fault) => Err(fault),
        }
    }
}

fn key(wanted: &IstioObject) -> Key {
    (wanted.kind, wanted.namespace.clone(), wanted.name.clone())
}

fn read(kind: IstioKind, live: &DynamicObject) -> Option<Existing> {
    let value: Value = json(live.clone());
    Existing::read(kind, &value)
}
