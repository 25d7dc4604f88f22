//! Resolves which waypoint an object uses. Source: Istio, ambient mode, "Configure waypoint proxies": the label
//! `istio.io/use-waypoint` of the pod, else of the service, else of the namespace; `none` opts out. Contains no rule.

use crate::membership::namespace_mode;
use crate::{Kind, Resource, View};

/// Label with the name of the waypoint.
pub const LABEL: &str = "istio.io/use-waypoint";
/// Label with the namespace of the waypoint, if it is another one.
pub const NAMESPACE_LABEL: &str = "istio.io/use-waypoint-namespace";

/// Namespace and name of the waypoint in the object's own labels.
pub fn named_by<'a>(resource: &'a Resource, namespace: &'a str) -> Option<(&'a str, &'a str)> {
    let name = resource.label(LABEL).filter(|name| !name.is_empty())?;
    Some((resource.label(NAMESPACE_LABEL).unwrap_or(namespace), name))
}

/// Whether labels route the traffic of a service through a waypoint. Needs [`Kind::Namespace`].
pub fn has_waypoint(view: &View<'_>, service: &Resource) -> bool {
    match named_by(service, &service.namespace) {
        Some((_, name)) => name != "none",
        None => namespace_has_waypoint(view, &service.namespace),
    }
}

/// Whether services of a namespace use a waypoint by default. Needs [`Kind::Namespace`].
pub fn namespace_has_waypoint(view: &View<'_>, namespace: &str) -> bool {
    let found = view.get(Kind::Namespace, "", namespace);
    found.and_then(|namespace| named_by(namespace, &namespace.name)).is_some_and(|(_, name)| name != "none")
}

/// Whether a namespace is among the objects and is ambient. Needs [`Kind::Namespace`].
pub fn is_ambient(view: &View<'_>, namespace: &str) -> bool {
    view.get(Kind::Namespace, "", namespace).is_some_and(|namespace| namespace_mode(namespace).is_ambient())
}

/// Whether a namespace contains a waypoint, used or not. Needs [`Kind::KubernetesGateway`].
pub fn runs_waypoint(view: &View<'_>, namespace: &str) -> bool {
    view.in_namespace(Kind::KubernetesGateway, namespace).iter().any(|gateway| is_waypoint(gateway))
}

/// Whether a Gateway is a waypoint: its class is `istio-waypoint`.
pub fn is_waypoint(gateway: &Resource) -> bool {
    let spec = gateway.spec();
    spec["gatewayClassName"].text().contains("waypoint")
        || spec["listeners"].items().iter().any(|listener| listener["protocol"].text() == "HBONE")
}
