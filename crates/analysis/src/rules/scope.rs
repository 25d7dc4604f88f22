//! How much of a cluster is known. A folder of files is a part of one: that it lacks a Service means something only if it
//! has the other Services of that namespace. Knows no rule.

use crate::{KeyIndex, Kind, Node, Resource, Selector, View, WORKLOADS, Within, hosts};

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

/// Whether all namespaces are among the objects: whoever lists them lists the root namespace too.
pub fn knows_namespaces(view: &View<'_>) -> bool {
    view.has_named(Kind::Namespace, "", view.root_namespace())
}

/// Whether the objects are a cluster and not some files: its namespaces and the control plane itself are among them.
pub fn is_whole_cluster(view: &View<'_>) -> bool {
    knows_namespaces(view) && view.has_key(&CONTROL_PLANE, &[view.root_namespace()])
}

/// Whether the services of a host would be known if they were there. Needs [`Kind::Service`], [`Kind::ServiceEntry`],
/// [`Kind::Namespace`] and [`Kind::MeshConfig`].
pub fn knows_host(view: &View<'_>, fqdn: &str) -> bool {
    let is_near = match hosts::service_of(fqdn) {
        Some((namespace, _)) => view.has_in(Kind::Service, namespace),
        None => view.has(Kind::ServiceEntry),
    };
    is_near || knows_namespaces(view)
}

/// Whether gateways are among the workloads: those whose template has a proxy. Needs [`WORKLOADS`], [`Kind::Namespace`]
/// and [`Kind::MeshConfig`].
pub fn knows_gateways(view: &View<'_>) -> bool {
    view.has_key(&PROXIES, &[]) || knows_namespaces(view)
}

/// Whether there are workloads among the objects. Needs [`WORKLOADS`], [`Kind::Namespace`] and [`Kind::MeshConfig`].
pub fn knows_workloads(view: &View<'_>) -> bool {
    WORKLOADS.iter().any(|kind| view.has(*kind)) || knows_namespaces(view)
}

/// Whether a Service is for pods that nothing among the objects makes. In files that may be something which no rule knows,
/// such as a Rollout of Argo, so that nothing is known of their labels; where pods are listed, it would have them. Needs [`WORKLOADS`], [`Kind::Namespace`] and
/// [`Kind::MeshConfig`].
pub fn is_for_unknown_pods(view: &View<'_>, service: &Resource) -> bool {
    let selector = Selector::new(&service.spec()["selector"]);
    !selector.is_empty()
        && !knows_namespaces(view)
        && !view.has(Kind::Pod)
        && !view.has_workload(Within::Namespace(&service.namespace), &selector)
}

/// The same of the pods with these labels. Needs [`Kind::Service`] too.
pub fn are_unknown_pods(view: &View<'_>, namespace: &str, labels: &Node) -> bool {
    view.services_selecting(namespace, labels).iter().any(|service| is_for_unknown_pods(view, service))
}
