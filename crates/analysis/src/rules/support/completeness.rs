//! Decides how complete the objects are. A folder of files may be only a part of a cluster: a missing Service is an
//! error only if the other Services of its namespace were read. Contains no rule.

use crate::{KeyIndex, Kind, Resource, Selector, Value, View, WORKLOADS, Within, hosts};

static PROXIES: KeyIndex = KeyIndex {
    name: "workloads with a proxy of their own",
    kinds: WORKLOADS,
    keys: |workload, keys| {
        let containers = workload.pod_template().at("spec.containers").items();
        if containers.iter().any(|container| container["name"].text() == "istio-proxy") {
            keys.add(&[]);
        }
    },
};

static CONTROL_PLANE: KeyIndex = KeyIndex {
    name: "control plane",
    kinds: &[Kind::Deployment],
    keys: |deployment, keys| {
        if deployment.label("app") == Some("istiod") {
            keys.add(&[&deployment.namespace]);
        }
    },
};

/// Whether all namespaces are among the objects: a complete list contains the root namespace.
pub fn knows_namespaces(view: &View<'_>) -> bool {
    view.has_named(Kind::Namespace, "", view.root_namespace())
}

/// Whether the objects are those of a whole cluster: they contain its namespaces and the control plane.
pub fn is_whole_cluster(view: &View<'_>) -> bool {
    knows_namespaces(view) && view.has_key(&CONTROL_PLANE, &[view.root_namespace()])
}

/// Whether the services of a host would be among the objects if they existed. Needs [`Kind::Service`],
/// [`Kind::ServiceEntry`], [`Kind::Namespace`] and [`Kind::MeshConfig`].
pub fn knows_host(view: &View<'_>, fqdn: &str) -> bool {
    let is_near = match hosts::service_of(fqdn) {
        Some((namespace, _)) => view.has_in(Kind::Service, namespace),
        None => view.has(Kind::ServiceEntry),
    };
    is_near || knows_namespaces(view)
}

/// Whether the workloads include gateways, which have a proxy in their pod template. Needs [`WORKLOADS`],
/// [`Kind::Namespace`] and [`Kind::MeshConfig`].
pub fn knows_gateways(view: &View<'_>) -> bool {
    view.has_key(&PROXIES, &[]) || knows_namespaces(view)
}

/// Whether there are workloads among the objects. Needs [`WORKLOADS`], [`Kind::Namespace`] and [`Kind::MeshConfig`].
pub fn knows_workloads(view: &View<'_>) -> bool {
    WORKLOADS.iter().any(|kind| view.has(*kind)) || knows_namespaces(view)
}

/// Whether a Service selects pods whose workload is not among the objects. In files they may come from a kind without
/// rules, such as an Argo Rollout, so their labels are unknown. If pods were listed, they would include these. Needs
/// [`WORKLOADS`], [`Kind::Namespace`] and [`Kind::MeshConfig`].
pub fn is_for_unknown_pods(view: &View<'_>, service: &Resource) -> bool {
    let selector = Selector::new(&service.spec()["selector"]);
    !selector.is_empty()
        && !knows_namespaces(view)
        && !view.has(Kind::Pod)
        && !view.has_workload(Within::Namespace(&service.namespace), &selector)
}

/// The same for pods with these labels. Needs [`Kind::Service`] too.
pub fn are_unknown_pods(view: &View<'_>, namespace: &str, labels: &Value) -> bool {
    view.services_selecting(namespace, labels).iter().any(|service| is_for_unknown_pods(view, service))
}
