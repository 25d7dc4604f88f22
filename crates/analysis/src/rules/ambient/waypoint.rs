//! Which waypoint an object of the analysis uses. Contains no rule.

use crate::istio::waypoint::{self, Choice};
use crate::membership::namespace_mode;
use crate::{Kind, Resource, View};

/// The waypoint that the object's own labels choose.
pub fn choice_of(resource: &Resource) -> Choice<'_> {
    let namespace = if resource.kind == Kind::Namespace { &resource.name } else { &resource.namespace };
    Choice::by(|key| resource.label(key), namespace)
}

/// Whether labels route the traffic of a service through a waypoint. Needs [`Kind::Namespace`].
pub fn has_waypoint(view: &View<'_>, service: &Resource) -> bool {
    choice_of(service).or(choice_of_namespace(view, &service.namespace)).is_some()
}

/// Whether services of a namespace use a waypoint by default. Needs [`Kind::Namespace`].
pub fn namespace_has_waypoint(view: &View<'_>, namespace: &str) -> bool {
    choice_of_namespace(view, namespace).named().is_some()
}

fn choice_of_namespace<'a>(view: &View<'a>, namespace: &str) -> Choice<'a> {
    view.get(Kind::Namespace, "", namespace).map_or(Choice::Inherited, choice_of)
}

/// Whether a namespace is among the objects and is ambient. Needs [`Kind::Namespace`].
pub fn is_ambient(view: &View<'_>, namespace: &str) -> bool {
    view.get(Kind::Namespace, "", namespace).is_some_and(|namespace| namespace_mode(namespace).is_ambient())
}

/// Whether a namespace contains a waypoint, used or not. Needs [`Kind::KubernetesGateway`].
pub fn runs_waypoint(view: &View<'_>, namespace: &str) -> bool {
    view.in_namespace(Kind::KubernetesGateway, namespace).iter().any(|gateway| is_waypoint(gateway))
}

/// Whether a Gateway is a waypoint.
pub fn is_waypoint(gateway: &Resource) -> bool {
    waypoint::is_waypoint(gateway.spec())
}
