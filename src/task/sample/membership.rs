//! Whether the namespace of a sample application is part of the mesh.

use serde_json::Value;

use crate::analysis::istio::membership::LABELS;
use crate::cluster::{Cluster, Error, ObjectRef};
use crate::task::istio_api::{NETWORKING, newest};
use crate::task::names::Namespace;

/// A warning if the cluster has Istio and the namespace has none of its labels: rules for traffic then have no effect.
///
/// # Errors
/// When the cluster cannot be read.
pub async fn warning(cluster: &Cluster, namespace: &Namespace) -> Result<Option<String>, Error> {
    if newest(cluster, &NETWORKING, &["VirtualService"]).await?.is_none() {
        return Ok(None);
    }
    let live = cluster.get(&ObjectRef::new("v1", "Namespace", None, namespace.as_str())).await?;
    Ok(live.filter(is_unlabeled).map(|_| {
        format!(
            "namespace {namespace} has no label for sidecar injection or ambient mode: its pods are outside the mesh, and \
             traffic rules have no effect; run namespace.label with namespace={namespace}, mode=enabled and restart=true"
        )
    }))
}

fn is_unlabeled(namespace: &Value) -> bool {
    LABELS.iter().all(|label| namespace["metadata"]["labels"][*label].is_null())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn any_label_of_the_mesh_is_a_decision() {
        assert!(is_unlabeled(&json!({"metadata": {"labels": {"kubernetes.io/metadata.name": "book"}}})));
        for (label, value) in
            [("istio-injection", "disabled"), ("istio.io/rev", "1-30-3"), ("istio.io/dataplane-mode", "ambient")]
        {
            assert!(!is_unlabeled(&json!({"metadata": {"labels": {label: value}}})), "{label}");
        }
    }
}
