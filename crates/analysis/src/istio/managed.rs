//! What manages an object, by its labels: Helm, istioctl, sailhand, or istiod for a Gateway of the Gateway API. Sources:
//! Kubernetes, "Recommended Labels"; istio `operator/pkg/helmreconciler`, `pkg/config/constants/constants.go`,
//! `pilot/pkg/config/kube/gatewaycommon/classinfo.go`.

use super::Json;

/// Label with the name of the tool that manages an object.
pub const BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`BY`] on what sailhand writes.
pub const SAILHAND: &str = "sailhand";
/// Value of [`BY`] on what the charts of Helm releases contain.
pub const HELM: &str = "Helm";
/// Label of istioctl with the name of an installation.
pub const OWNING_RESOURCE: &str = "install.operator.istio.io/owning-resource";
/// Label of what istioctl and the Istio operator install; its value is a mode.
pub const OPERATOR: &str = "operator.istio.io/managed";
/// Label of the Deployment, the pods and the Service that istiod creates for a Gateway of the Gateway API, with the name of
/// the controller.
pub const GATEWAY: &str = "gateway.istio.io/managed";
/// Label of the same objects with the name of the Gateway.
pub const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// Class of a waypoint.
pub const WAYPOINT_CLASS: &str = "istio-waypoint";
/// Class of an east-west gateway in ambient mode.
pub const EAST_WEST_CLASS: &str = "istio-east-west";
/// Class of a Gateway of another cluster or network, for which istiod creates nothing.
pub const REMOTE_CLASS: &str = "istio-remote";

const GATEWAY_CONTROLLER: &str = "istio.io-gateway-controller";
const WAYPOINT_CONTROLLER: &str = "istio.io-mesh-controller";
const EAST_WEST_CONTROLLER: &str = "istio.io-eastwest-controller";

/// The value of [`GATEWAY`] on what istiod creates for a Gateway of this class.
#[must_use]
pub fn controller_of(class: &str) -> &'static str {
    match class {
        WAYPOINT_CLASS => WAYPOINT_CONTROLLER,
        EAST_WEST_CLASS => EAST_WEST_CONTROLLER,
        _ => GATEWAY_CONTROLLER,
    }
}

/// Whether istiod created an object with these labels for a Gateway of the Gateway API.
#[must_use]
pub fn is_of_gateway<J: Json>(labels: &J) -> bool {
    labels.string_at(&[GATEWAY]).is_some_and(|controller| controller.starts_with("istio.io-"))
}

/// Whether istiod created an object with these labels for a waypoint.
#[must_use]
pub fn is_of_waypoint<J: Json>(labels: &J) -> bool {
    labels.string_at(&[GATEWAY]) == Some(WAYPOINT_CONTROLLER)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_of_each_class_are_recognized() {
        for (class, controller, waypoint) in [
            ("istio", "istio.io-gateway-controller", false),
            ("istio-waypoint", "istio.io-mesh-controller", true),
            ("istio-east-west", "istio.io-eastwest-controller", false),
        ] {
            assert_eq!(controller_of(class), controller);
            let labels = json!({"gateway.istio.io/managed": controller});
            assert!(is_of_gateway(&labels), "{class}");
            assert_eq!(is_of_waypoint(&labels), waypoint, "{class}");
        }
        for labels in [json!({}), json!({"gateway.istio.io/managed": "example.com-controller"})] {
            assert!(!is_of_gateway(&labels) && !is_of_waypoint(&labels), "{labels}");
        }
    }
}
