//! How much of a cluster is known. A folder of files is a part of one: that it lacks a Service means something only if it
//! has the other Services of that namespace. Knows no rule.

use crate::analysis::{KeyIndex, Kind, View, WORKLOADS, hosts};

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

/// Whether all namespaces are among the objects: whoever lists them lists the root namespace too.
pub fn knows_namespaces(view: &View<'_>) -> bool {
    view.get(Kind::Namespace, "", view.mesh().root_namespace()).is_some()
}

/// Whether the objects are a cluster and not some files: its namespaces and the control plane itself are among them.
pub fn is_whole_cluster(view: &View<'_>) -> bool {
    let root = view.mesh().root_namespace();
    let is_istiod = |app: Option<&str>| app == Some("istiod");
    knows_namespaces(view)
        && view.in_namespace(Kind::Deployment, root).iter().any(|deployment| is_istiod(deployment.label("app")))
}

/// Whether the services of a host would be known if they were there. Needs [`Kind::Service`], [`Kind::ServiceEntry`],
/// [`Kind::Namespace`] and [`Kind::MeshConfig`].
pub fn knows_host(view: &View<'_>, fqdn: &str) -> bool {
    let is_near = match hosts::service_of(fqdn) {
        Some((namespace, _)) => !view.in_namespace(Kind::Service, namespace).is_empty(),
        None => !view.all(Kind::ServiceEntry).is_empty(),
    };
    is_near || knows_namespaces(view)
}

/// Whether gateways are among the workloads: those whose template has a proxy. Needs [`WORKLOADS`], [`Kind::Namespace`]
/// and [`Kind::MeshConfig`].
pub fn knows_gateways(view: &View<'_>) -> bool {
    !view.lookup(&PROXIES, &[]).is_empty() || knows_namespaces(view)
}

/// Whether there are workloads among the objects. Needs [`WORKLOADS`], [`Kind::Namespace`] and [`Kind::MeshConfig`].
pub fn knows_workloads(view: &View<'_>) -> bool {
    WORKLOADS.iter().any(|kind| !view.all(*kind).is_empty()) || knows_namespaces(view)
}
