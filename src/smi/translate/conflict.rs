//! Objects of other clients that apply to the same hosts or workloads.

use super::super::istio::{Existing, Governs};
use super::super::object::Identity;
use super::selector::{Selector, selects};
use super::{Key, Reason, Translation, World};

/// The Services that an object routes or applies to.
pub(super) fn services(existing: &Existing) -> impl Iterator<Item = Key<'_>> {
    let services = match &existing.governs {
        Governs::Services(services) => services.as_slice(),
        Governs::Nothing | Governs::Pods(_) => &[],
    };
    services.iter().map(|(namespace, name)| (namespace.as_str(), name.as_str()))
}

/// Reports objects that cannot be written, because an object of another client has the name, and leaves them out.
pub(super) fn names(world: &World<'_>, out: &mut Translation) {
    let (free, taken) = std::mem::take(&mut out.objects)
        .into_iter()
        .partition(|object| !world.taken.contains(&(object.kind, &*object.namespace, &*object.name)));
    out.objects = free;
    for object in taken {
        let (kind, place) = (object.kind.name(), format!("{}/{}", object.namespace, object.name));
        let message =
            format!("{kind} {place} exists and is not managed by {}; it is not overwritten", super::super::MANAGED_BY);
        out.report(&object.source, Reason::Conflict, message);
    }
}

/// Reports policies of other clients that allow requests to the selected pods: SMI and Istio add permissions up, so
/// more is allowed than the `TrafficTarget`s allow.
pub(super) fn policies(
    world: &World<'_>,
    source: &Identity,
    namespace: &str,
    selector: &Selector<'_>,
    out: &mut Translation,
) {
    let root = world.settings.root_namespace.as_str();
    let places = [namespace, root];
    let places = if namespace == root { &places[..1] } else { &places[..] };
    for existing in places.iter().filter_map(|place| world.foreign.get(place)).flatten() {
        let Governs::Pods(labels) = &existing.governs else { continue };
        let applies = |pod: &&super::Workload| selects(selector.labels, &pod.labels) && selects(labels, &pod.labels);
        if world.workloads.get(namespace).into_iter().flatten().any(applies) {
            let message = format!(
                "AuthorizationPolicy {}/{} allows requests to the same workload, in addition to the rules of this object",
                existing.namespace, existing.name
            );
            out.report(source, Reason::Conflict, message);
        }
    }
}
