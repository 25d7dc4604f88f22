//! Properties of pods: ready, in the mesh, selected by labels. Pure.

use serde_json::Value;

use crate::analysis::istio::pod;

/// Whether the pod receives requests: it is ready and not terminating.
pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    pod["metadata"]["deletionTimestamp"].is_null()
        && conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

/// Whether a proxy handles the pod's traffic: a sidecar or ztunnel.
pub fn has_proxy(pod: &Value) -> bool {
    pod::has_sidecar(pod) || pod::is_redirected(pod)
}

/// Whether it has all labels of `wanted`, an object of strings.
pub fn has_labels<'a>(pod: &Value, wanted: impl IntoIterator<Item = (&'a str, &'a str)>) -> bool {
    wanted.into_iter().all(|(key, value)| pod["metadata"]["labels"][key] == value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn proxy_is_a_container_an_init_container_or_ztunnel() {
        let proxy = json!([{"name": "app"}, {"name": "istio-proxy", "image": "proxyv2"}]);
        for pod in [
            json!({"spec": {"containers": proxy}}),
            json!({"spec": {"containers": [{"name": "app"}], "initContainers": proxy}}),
            json!({"metadata": {"annotations": {"ambient.istio.io/redirection": "enabled"}}}),
        ] {
            assert!(has_proxy(&pod), "{pod}");
        }
        assert!(!has_proxy(&json!({"spec": {"containers": [{"name": "app"}]}})));
    }

    #[test]
    fn terminating_pod_receives_no_requests() {
        let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        assert!(is_ready(&json!({"status": ready})));
        assert!(!is_ready(&json!({"metadata": {"deletionTimestamp": "x"}, "status": ready})));
        assert!(!is_ready(&json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}})));
        assert!(!is_ready(&json!({})));
    }
}
