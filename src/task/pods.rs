//! Properties of pods: ready, in the mesh, selected by labels. Pure.

use serde_json::Value;

use crate::analysis::istio::pod;

/// Whether the pod receives requests: it is ready and not terminating.
pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    pod["metadata"]["deletionTimestamp"].is_null()
        && conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

/// Whether Istio's proxy is in it, as a container or (from 1.27) an init container, or ztunnel stands before it.
pub fn has_proxy(pod: &Value) -> bool {
    pod::has_sidecar(pod) || pod["metadata"]["annotations"]["ambient.istio.io/redirection"] == "enabled"
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
    fn a_proxy_is_seen_wherever_it_is() {
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
