//! Which component of Istio an object is, by its labels. Source: istio `manifests/charts`.

use super::Json;

/// Value of the label `app` of istiod's Deployment, pods and Service.
pub const ISTIOD: &str = "istiod";
/// Label selector of istiod's objects.
pub const ISTIOD_SELECTOR: &str = "app=istiod";
/// Value of the label `app` of ztunnel's `DaemonSet` and pods.
pub const ZTUNNEL: &str = "ztunnel";
/// Name of istiod's container.
pub const DISCOVERY_CONTAINER: &str = "discovery";

/// Whether an object with these labels is istiod's.
#[must_use]
pub fn is_istiod<J: Json>(labels: &J) -> bool {
    labels.string_at(&["app"]) == Some(ISTIOD)
}

/// Whether an object with these labels is ztunnel's.
#[must_use]
pub fn is_ztunnel<J: Json>(labels: &J) -> bool {
    labels.string_at(&["app"]) == Some(ZTUNNEL)
}
