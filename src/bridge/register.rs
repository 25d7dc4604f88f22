//! Registers one model for each version of Istio in Meshery's registry. Without a model named `istio`, Meshery's UI
//! refuses every operation; the versions of the models are what its menu offers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use uuid::Uuid;

use super::outbox::{Outbox, named_uuid};
use crate::clock::Clock;
use crate::retry;

const MODELS: &str = "/api/meshmodels/models/istio";
/// The first is the current one; older servers answer 404 or 405 and have the second.
const COMPONENTS: [&str; 2] = ["/api/registry/components", "/api/meshmodels/components"];
/// Time between two checks: a restarted server without a database has lost the models.
const CHECK: Duration = Duration::from_mins(10);

/// Keeps the models registered, without end. Failures delay it and have no other effect.
pub(super) async fn register(outbox: Arc<Outbox>, versions: Vec<String>) {
    let mut failures = 0;
    loop {
        let delay = match once(&outbox, &versions).await {
            Ok(()) => {
                failures = 0;
                CHECK
            }
            Err(reason) => {
                failures += 1;
                tracing::warn!("cannot register Istio's versions in Meshery: {reason}");
                retry::ATTEMPTS.delay(failures, Some(retry::ATTEMPTS.first))
            }
        };
        Clock::system().sleep(delay).await;
    }
}

async fn once(outbox: &Outbox, versions: &[String]) -> Result<(), String> {
    let missing = missing(outbox, versions).await?;
    if missing.is_empty() {
        return Ok(());
    }
    for version in &missing {
        post(outbox, version).await?;
    }
    // The answer is 200 also when the registry has refused the component.
    let still = self::missing(outbox, versions).await?;
    if still.is_empty() {
        tracing::info!(versions = missing.join(", "), "registered Istio's versions in Meshery");
        return Ok(());
    }
    Err(format!("the registry does not list version {}", still.join(", ")))
}

/// The versions that the registry does not have.
async fn missing(outbox: &Outbox, versions: &[String]) -> Result<Vec<String>, String> {
    let answer = outbox.get(MODELS).await.map_err(|error| error.to_string())?;
    let registered: BTreeSet<String> = match answer.status {
        200 => {
            let list: Value = serde_json::from_str(&answer.body).map_err(|error| format!("{MODELS}: {error}"))?;
            let models = list["models"].as_array().into_iter().flatten();
            models.filter_map(|model| model["version"].as_str().map(str::to_owned)).collect()
        }
        404 => BTreeSet::new(),
        status => return Err(format!("{MODELS} answers status {status}")),
    };
    Ok(versions.iter().filter(|version| !registered.contains(*version)).cloned().collect())
}

async fn post(outbox: &Outbox, version: &str) -> Result<(), String> {
    let body = json!({
        "connection": connection(), "entityType": "component",
        "entity": base64::engine::general_purpose::STANDARD.encode(component(version).to_string()),
    });
    for path in COMPONENTS {
        let answer = outbox.post(path, &body).await.map_err(|error| error.to_string())?;
        match answer.status {
            200..=299 => return Ok(()),
            404 | 405 => {}
            status => return Err(format!("{path} answers status {status}")),
        }
    }
    Err("the server has no endpoint to register components".to_owned())
}

/// The registrant. Meshery identifies it by the digest of this object, so it has no times and no random values. Without a
/// port, Meshery applies designs itself; with one, its servers fail to call the adapter.
fn connection() -> Value {
    json!({
        "id": named_uuid("sailhand connection meshery-istio"), "schemaVersion": "connections.meshery.io/v1beta3",
        "name": "meshery-istio", "type": "platform", "subType": "adapter", "kind": "meshery-istio",
        "status": "registered", "metadata": {},
    })
}

/// One component of a model whose definition version is the version of Istio, since that is what the menu shows and what
/// requests contain. With every field that Meshery's schemas require, `@meshery/schemas` 1.3.7, also where its server
/// accepts less.
fn component(version: &str) -> Value {
    let schema = json!({
        "type": "object", "title": "Istio Mesh",
        "properties": {"profile": {"type": "string", "enum": ["default", "demo", "minimal"]}, "version": {"type": "string"}},
    });
    let model = named_uuid(&format!("sailhand model istio {version}"));
    let category = named_uuid("sailhand category Cloud Native Network");
    json!({
        "id": Uuid::new_v4().to_string(), "schemaVersion": "components.meshery.io/v1beta2", "version": "v1.0.0",
        "displayName": "IstioMesh", "description": "Istio, installed by sailhand", "format": "JSON",
        "model": {
            "id": model, "schemaVersion": "models.meshery.io/v1beta1", "version": version, "name": "istio",
            "displayName": "Istio", "description": "Istio, operated by sailhand", "status": "enabled",
            "registrant": connection(), "registrantId": connection()["id"],
            "category": {"id": category, "name": "Cloud Native Network", "metadata": {}}, "categoryId": category,
            "subCategory": "Service Mesh", "model": {"version": version},
            "components": [], "componentsCount": 1, "relationships": [], "relationshipsCount": 0,
        },
        "modelReference": {
            "id": model, "name": "istio", "version": version, "displayName": "Istio", "model": {"version": version},
            "registrant": {"kind": "meshery-istio"},
        },
        "component": {"kind": "IstioMesh", "version": "sailhand.meshery.io/v1", "schema": schema.to_string()},
        "configuration": {},
        "metadata": {
            "published": true, "isAnnotation": false, "isNamespaced": false, "genealogy": "", "instanceDetails": {},
            "configurationUISchema": "",
        },
    })
}
