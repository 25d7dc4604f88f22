//! Pods. Source: Kubernetes, "Pod Lifecycle"; istio `pkg/kube/inject`.

use super::Json;

/// Whether a pod has ended for good: it succeeded or failed, so that it serves nothing and is never restarted.
pub fn has_ended<J: Json>(pod: &J) -> bool {
    matches!(pod.string_at(&["status", "phase"]), Some("Succeeded" | "Failed"))
}

/// Whether a pod, or a pod template, has the container `istio-proxy` with an image, as a container or as a native
/// sidecar among its init containers.
pub fn has_sidecar<J: Json>(pod: &J) -> bool {
    ["containers", "initContainers"].iter().any(|list| {
        let containers = pod.path(&["spec", list]).map_or(&[][..], Json::array);
        containers.iter().any(|one| one.string_at(&["name"]) == Some("istio-proxy") && one.field("image").is_some())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sidecar_is_a_container_with_an_image_in_either_list() {
        let pod = |list: &str, container: serde_json::Value| json!({"spec": {list: [container]}});
        let proxy = json!({"name": "istio-proxy", "image": "proxyv2"});
        assert!(has_sidecar(&pod("containers", proxy.clone())) && has_sidecar(&pod("initContainers", proxy.clone())));
        // A template may set resources of the sidecar that the injector adds later.
        assert!(!has_sidecar(&pod("containers", json!({"name": "istio-proxy"}))));
        assert!(!has_sidecar(&pod("containers", json!({"name": "web", "image": "web"}))));
    }

    #[test]
    fn pod_that_succeeded_or_failed_has_ended() {
        for (phase, wanted) in [("Running", false), ("Pending", false), ("Succeeded", true), ("Failed", true)] {
            assert_eq!(has_ended(&json!({"status": {"phase": phase}})), wanted, "{phase}");
        }
        assert!(!has_ended(&json!({})));
    }
}
