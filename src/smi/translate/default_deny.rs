//! Deny by default for the namespaces that opt in: an AuthorizationPolicy that allows nothing.

use serde_json::json;

use super::super::DEFAULT_DENY_LABEL;
use super::super::istio::{IstioKind, IstioObject};
use super::super::object::{Identity, Kind, Meta};
use super::{Translation, World};

const NAME: &str = "smi-default-deny";

pub(super) fn translate(world: &World<'_>, out: &mut Translation) {
    let opted_in = |labels: &std::collections::BTreeMap<String, String>| {
        labels.get(DEFAULT_DENY_LABEL).is_some_and(|value| value == "true")
    };
    for namespace in world.snapshot.namespaces.iter().filter(|one| opted_in(&one.labels)) {
        let source = Identity { kind: Kind::Namespace, namespace: String::new(), name: namespace.name.clone() };
        if namespace.name == world.settings.root_namespace {
            let effect = "a policy there would deny every request in the mesh";
            out.refuse(&source, format!("default-deny: {} is the mesh's root namespace: {effect}", namespace.name));
            continue;
        }
        let kind = IstioKind::AuthorizationPolicy;
        out.objects.push(IstioObject::new(
            kind,
            &namespace.name,
            NAME.to_owned(),
            &source,
            &Meta::default(),
            json!({}),
        ));
    }
}
