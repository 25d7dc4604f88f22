//! Pods. Source: Kubernetes, "Pod Lifecycle"; istio `pkg/kube/inject`.

use super::{Json, managed};

/// Name of the proxy's container in pods with a sidecar, of gateways and of waypoints.
pub const PROXY_CONTAINER: &str = "istio-proxy";

/// Whether a pod has ended for good: it succeeded or failed, so that it serves nothing and is never restarted.
pub fn has_ended<J: Json>(pod: &J) -> bool {
    matches!(pod.string_at(&["status", "phase"]), Some("Succeeded" | "Failed"))
}

/// Whether a pod, or a pod template, has the container `istio-proxy` with an image, as a container or as a native
/// sidecar among its init containers.
pub fn has_sidecar<J: Json>(pod: &J) -> bool {
    proxy_container(pod).is_some()
}

/// The container `istio-proxy` of a pod or pod template, as [`has_sidecar`] finds it.
pub fn proxy_container<J: Json>(pod: &J) -> Option<&J> {
    proxy_containers(pod).find(|one| one.field("image").is_some())
}

/// The containers `istio-proxy` of a pod or pod template in either list, also those without an image.
pub fn proxy_containers<J: Json>(pod: &J) -> impl Iterator<Item = &J> {
    let lists = ["containers", "initContainers"].into_iter().filter_map(|list| pod.path(&["spec", list]));
    lists.flat_map(Json::array).filter(|one| is_proxy_container(*one))
}

/// Whether a container is the proxy's, by its name.
pub fn is_proxy_container<J: Json>(container: &J) -> bool {
    container.string_at(&["name"]) == Some(PROXY_CONTAINER)
}

/// Whether ztunnel handles the traffic of a pod. Istio's CNI plugin sets the annotation. Source: istio
/// `cni/pkg/util/podutil.go`.
pub fn is_redirected<J: Json>(pod: &J) -> bool {
    pod.string_at(&["metadata", "annotations", "ambient.istio.io/redirection"]) == Some("enabled")
}

/// Whether a pod, or a pod template, is a gateway or waypoint: a proxy without an application. Recognizes those that
/// istiod creates for a Gateway of the Gateway API, those of Istio's chart `gateway`, which requests the injection template
/// of a gateway, and those with the label `istio` of the older charts. istiod has that label too, with the value `pilot`.
pub fn is_gateway<J: Json>(pod: &J) -> bool {
    is_injected_gateway(pod)
        || pod.path(&["metadata", "labels"]).is_some_and(|labels| {
            labels.string_at(&[managed::GATEWAY_NAME]).is_some()
                || managed::is_of_gateway(labels)
                || labels.string_at(&["istio"]).is_some_and(|component| component != "pilot")
        })
}

/// Whether a pod, or a pod template, requests the injection template of a gateway, as those of Istio's chart `gateway`.
pub fn is_injected_gateway<J: Json>(pod: &J) -> bool {
    pod.string_at(&["metadata", "annotations", "inject.istio.io/templates"]) == Some("gateway")
}

/// Whether a pod is a waypoint that istiod created. A waypoint is a gateway by [`is_gateway`], but it gets no requests from
/// outside the mesh, and policies with a selector do not apply to it.
pub fn is_waypoint<J: Json>(pod: &J) -> bool {
    pod.path(&["metadata", "labels"]).is_some_and(managed::is_of_waypoint)
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
    fn gateways_and_waypoints_are_recognized_however_they_were_created() {
        let labels = |labels: serde_json::Value| json!({"metadata": {"labels": labels}});
        for (pod, expected) in [
            (json!({"metadata": {"annotations": {"inject.istio.io/templates": "gateway"}}}), true),
            (labels(json!({"gateway.networking.k8s.io/gateway-name": "web"})), true),
            (labels(json!({"gateway.istio.io/managed": "istio.io-gateway-controller"})), true),
            (labels(json!({"gateway.istio.io/managed": "istio.io-mesh-controller"})), true),
            (labels(json!({"istio": "ingressgateway"})), true),
            (labels(json!({"istio": "pilot", "app": "istiod"})), false),
            (json!({"metadata": {"annotations": {"inject.istio.io/templates": "sidecar"}}}), false),
            (labels(json!({"app": "web"})), false),
        ] {
            assert_eq!(is_gateway(&pod), expected, "{pod}");
            assert_eq!(is_waypoint(&pod), pod.to_string().contains("mesh-controller"), "{pod}");
        }
    }

    #[test]
    fn pod_is_redirected_by_its_annotation() {
        let pod = |value: &str| json!({"metadata": {"annotations": {"ambient.istio.io/redirection": value}}});
        assert!(is_redirected(&pod("enabled")));
        assert!(!is_redirected(&pod("disabled")) && !is_redirected(&json!({})));
    }

    #[test]
    fn pod_that_succeeded_or_failed_has_ended() {
        for (phase, wanted) in [("Running", false), ("Pending", false), ("Succeeded", true), ("Failed", true)] {
            assert_eq!(has_ended(&json!({"status": {"phase": phase}})), wanted, "{phase}");
        }
        assert!(!has_ended(&json!({})));
    }
}
