//! Resolves which gateways a `VirtualService` is bound to. Contains no rule.

use crate::{KeyIndex, Kind, Resource};

/// `VirtualService`s by their gateways: namespace and name, or `mesh` alone.
pub static BY_GATEWAY: KeyIndex = KeyIndex {
    name: "virtual services by gateway",
    kinds: &[Kind::VirtualService],
    keys: |service, keys| {
        for gateway in gateways(service) {
            match gateway {
                "mesh" => keys.add(&["mesh"]),
                gateway => {
                    let (namespace, name) = named(gateway, &service.namespace);
                    keys.add(&[namespace, name]);
                }
            }
        }
    },
};

/// Key of a gateway in [`BY_GATEWAY`].
#[must_use]
pub fn gateway_key(gateway: &Resource) -> [&str; 2] {
    [&gateway.namespace, &gateway.name]
}

/// Gateways of a `VirtualService`; `mesh` by default.
pub fn gateways(service: &Resource) -> impl Iterator<Item = &str> {
    let named = service.spec()["gateways"].texts();
    let default = service.spec()["gateways"].items().is_empty().then_some("mesh");
    named.chain(default)
}

/// Namespace and name of a gateway reference. The forms are `namespace/name`, `name` and `./name` for the own namespace
/// `own`, and the old `name.namespace` with or without a domain (istio `resolveGatewayName`).
#[must_use]
pub fn named<'a>(gateway: &'a str, own: &'a str) -> (&'a str, &'a str) {
    match (gateway.split_once('/'), gateway.split_once('.')) {
        (Some((".", name)), _) => (own, name),
        (Some(named), _) => named,
        (None, Some((name, rest))) => (rest.split('.').next().unwrap_or(rest), name),
        (None, None) => (own, gateway),
    }
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn gateway_names_resolve_in_every_form() {
        for gateway in ["edge", "./edge", "shop/edge", "edge.shop", "edge.shop.svc.cluster.local"] {
            assert_eq!(named(gateway, "shop"), ("shop", "edge"), "{gateway}");
        }
    }
}
