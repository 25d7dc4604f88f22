//! Restarts the workloads of a namespace as `kubectl rollout restart` does.

use kube::api::{Api, DynamicObject, Patch, PatchParams};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use super::labels::MANAGER;
use super::params::LabelParams;
use crate::clock::Clock;
use crate::cluster::{self, ApiError, Cluster, Kind, ObjectRef};
use crate::task::{Error, TaskContext};

/// Annotation that `kubectl rollout restart` writes to a pod template.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// A workload that was restarted, or was not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Restart {
    /// Which workload.
    pub object: ObjectRef,
    /// Why it was not restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

/// The note of a restart: the time, as kubectl writes it.
pub fn token(clock: &Clock) -> String {
    let now = clock.now();
    now.format(&Rfc3339).unwrap_or_else(|_| now.unix_timestamp().to_string())
}

/// Restarts what does not have the token yet, so that a repeated restart restarts nothing twice.
pub async fn restart(
    cx: &TaskContext,
    cluster: &Cluster,
    params: &LabelParams,
    token: &str,
    done: &mut Vec<Restart>,
) -> Result<(), Error> {
    let mut workloads = Vec::new();
    for name in ["Deployment", "StatefulSet", "DaemonSet"] {
        let Some(kind) = cluster.kind("apps/v1", name).await? else { continue };
        let namespace = Some(params.namespace.as_str());
        cluster.list(&kind, namespace, None, |found| workloads.extend(workload(&kind, &found, params, token))).await?;
    }
    let total = workloads.len();
    for (index, (kind, restart)) in workloads.into_iter().enumerate() {
        if restart.skipped.is_none() && !params.dry_run {
            let _writing = cx.guard.writing().await?;
            write(cluster, &kind, &restart.object, token).await?;
            cx.step("apply", index + 1, total, format!("restarted {}", restart.object));
        }
        done.push(restart);
    }
    Ok(())
}

/// None where the token is there already.
fn workload(kind: &Kind, found: &Value, params: &LabelParams, token: &str) -> Option<(Kind, Restart)> {
    let spec = &found["spec"];
    if spec["template"]["metadata"]["annotations"][RESTARTED_AT] == token {
        return None;
    }
    let skipped = if spec["paused"] == true {
        Some("its rollout is paused")
    } else if spec["updateStrategy"]["type"] == "OnDelete" {
        Some("its pods are replaced only after they are deleted (OnDelete)")
    } else {
        None
    };
    let object = ObjectRef {
        api_version: kind.resource.api_version.clone(),
        kind: kind.resource.kind.clone(),
        namespace: Some(params.namespace.to_string()),
        name: found["metadata"]["name"].as_str()?.to_owned(),
    };
    Some((kind.clone(), Restart { object, skipped: skipped.map(str::to_owned) }))
}

async fn write(cluster: &Cluster, kind: &Kind, object: &ObjectRef, token: &str) -> Result<(), Error> {
    let annotations = json!({"metadata": {"annotations": {RESTARTED_AT: token}}});
    let patch = Patch::Merge(json!({"spec": {"template": annotations}}));
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let namespace = object.namespace.as_deref().unwrap_or_default();
    cluster.check_write(object)?;
    let answer = cluster
        .call("restart", object, |client| {
            let (patch, params) = (&patch, &params);
            let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &kind.resource);
            async move { api.patch(&object.name, params, patch).await }
        })
        .await;
    match answer {
        // Deleted since it was listed: there is nothing to restart.
        Ok(_) | Err(cluster::Error::Request { fault: ApiError::NotFound(_), .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
