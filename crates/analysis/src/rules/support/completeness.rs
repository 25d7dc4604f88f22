//! Decides how complete the objects are. A folder of files may be only a part of a cluster: a missing Service is an
//! error only if other Services of its namespace were read and no controller creates more, or if the objects are those
//! of a whole cluster. Contains no rule.

use crate::istio::component::is_istiod;
use crate::istio::host;
use crate::istio::pod::is_proxy_container;
use crate::membership::is_managed_gateway;
use crate::{KeyIndex, Kind, Resource, Selector, Value, View, WORKLOADS, Within, generated, hosts};

static PROXIES: KeyIndex = KeyIndex {
    name: "workloads with a proxy of their own, by namespace",
    kinds: WORKLOADS,
    keys: |workload, keys| {
        let containers = workload.pod_template().at("spec.containers").items();
        let is_read = !is_managed_gateway(workload) || !workload.is_generated;
        if is_read && containers.iter().any(is_proxy_container) {
            keys.add(&[&workload.namespace]);
            if workload.kind == Kind::Pod {
                keys.add(&["a pod", ""]);
            }
        }
    },
};

/// Objects that texts have, by kind and namespace. Pods of custom kinds count.
static READ: KeyIndex = KeyIndex {
    name: "objects that were read, by namespace",
    kinds: &[
        Kind::Service,
        Kind::Secret,
        Kind::ServiceAccount,
        WORKLOADS[0],
        WORKLOADS[1],
        WORKLOADS[2],
        WORKLOADS[3],
        WORKLOADS[4],
        WORKLOADS[5],
    ],
    keys: |object, keys| {
        let is_workload = object.pod_template().is_set();
        if !object.is_generated || is_workload && !is_managed_gateway(object) {
            keys.add(&[if is_workload { generated::WORKLOAD } else { object.kind.name() }, &object.namespace]);
        }
    },
};

static CONTROL_PLANE: KeyIndex = KeyIndex {
    name: "control plane",
    kinds: &[Kind::Deployment],
    keys: |deployment, keys| {
        if is_istiod(deployment.labels()) {
            keys.add(&[&deployment.namespace]);
        }
    },
};

/// Namespaces that each cluster has.
const OF_EACH_CLUSTER: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// Whether all namespaces are among the objects: those of Kubernetes itself, which are not in files, and the root
/// namespace. Needs [`Kind::Namespace`] and [`Kind::MeshConfig`].
pub fn knows_namespaces(view: &View<'_>) -> bool {
    let has = |name: &str| view.has_named(Kind::Namespace, "", name);
    let is_listing = || has(view.root_namespace()) && has("kube-system");
    view.is_stated_whole() || !view.may_make_anything() && (is_listing() || has_control_plane(view))
}

/// Whether a namespace exists although no object among those given says so.
pub fn is_of_each_cluster(view: &View<'_>, namespace: &str) -> bool {
    OF_EACH_CLUSTER.contains(&namespace) || namespace == view.root_namespace()
}

/// Whether the objects are those of a whole cluster: they contain its namespaces and the control plane.
/// Needs [`Kind::Namespace`], [`Kind::Deployment`] and [`Kind::MeshConfig`].
pub fn is_whole_cluster(view: &View<'_>) -> bool {
    view.is_stated_whole() || !view.may_make_anything() && has_control_plane(view)
}

fn has_control_plane(view: &View<'_>) -> bool {
    view.has_named(Kind::Namespace, "", view.root_namespace())
        && view.has_generated_key(&CONTROL_PLANE, &[view.root_namespace()])
}

/// Whether a Service that is not among the objects does not exist. Needs [`Kind::Namespace`] and [`Kind::MeshConfig`].
pub fn knows_service(view: &View<'_>, namespace: &str, name: &str) -> bool {
    // The API server's own Service, which no file has.
    if (namespace, name) == ("default", "kubernetes") || view.may_be_made(generated::SERVICE, namespace, name) {
        return false;
    }
    view.has_generated_key(&READ, &[generated::SERVICE, namespace]) || knows_namespaces(view)
}

/// Whether the services of a host would be known if they were there: of the host in full, as [`hosts::fqdn`] makes it,
/// and as it is written. Needs [`Kind::ServiceEntry`], [`Kind::Namespace`] and [`Kind::MeshConfig`].
pub fn knows_host(view: &View<'_>, fqdn: &str, written: &str) -> bool {
    if let Some((namespace, name)) = hosts::service_of(fqdn) {
        return hosts::is_of_domain(written, view.mesh().cluster_domain()) && knows_service(view, namespace, name);
    }
    if let Some(service) = host::service(fqdn, "").filter(|it| it.domain.is_some_and(hosts::is_slip)) {
        return view.has_generated_key(&READ, &[generated::SERVICE, service.namespace]) || knows_namespaces(view);
    }
    if fqdn.contains(".svc.") && !hosts::is_of_domain(written, view.mesh().cluster_domain()) {
        return false;
    }
    !view.may_make_anything() && (view.has(Kind::ServiceEntry) || knows_namespaces(view))
}

/// Whether the pods of a gateway would be known if they were there: where other gateways of its namespace or of the root
/// namespace are. Needs [`WORKLOADS`], [`Kind::Namespace`] and [`Kind::MeshConfig`].
pub fn knows_gateways(view: &View<'_>, gateway: &Resource, selector: &Selector<'_>) -> bool {
    if view.may_make_pods_anywhere() && !view.is_stated_whole() {
        return false;
    }
    // The pods of the default installation are in the root namespace.
    let is_default = selector.pairs().iter().any(|(key, value)| *key == "istio" && value.ends_with("gressgateway"));
    let has_proxies = |namespace: &str| view.has_key(&PROXIES, &[namespace]);
    // Files do not contain Pods of gateways: these were listed.
    let is_listing = || view.has_key(&PROXIES, &["a pod", ""]);
    is_listing()
        || has_proxies(view.root_namespace())
        || !is_default && has_proxies(&gateway.namespace)
        || knows_namespaces(view)
}

/// Whether a workload with these labels that is not among the objects does not exist. Needs [`WORKLOADS`],
/// [`Kind::Namespace`] and [`Kind::MeshConfig`].
pub fn knows_workloads(view: &View<'_>, within: Within<'_>, selector: &Selector<'_>) -> bool {
    if view.is_stated_whole() {
        return true;
    }
    match within {
        Within::Anywhere => !view.may_make_pods_anywhere() && knows_namespaces(view),
        Within::Namespace(namespace) => {
            let values: Vec<&str> = selector.pairs().iter().map(|(_, value)| *value).collect();
            let has_some = || view.has_generated_key(&READ, &[generated::WORKLOAD, namespace]);
            !view.may_make_pods(namespace, &values) && (has_some() || knows_namespaces(view))
        }
    }
}

/// Whether a Secret that is not among the objects does not exist. Needs [`Kind::Namespace`] and [`Kind::MeshConfig`].
pub fn knows_secret(view: &View<'_>, namespace: &str, name: &str) -> bool {
    !view.may_be_made(generated::SECRET, namespace, name)
        && (view.has_generated_key(&READ, &[generated::SECRET, namespace]) || knows_namespaces(view))
}

/// Whether a `ServiceAccount` that is not among the objects does not exist: where texts have others of its namespace.
pub fn knows_service_accounts(view: &View<'_>, namespace: &str) -> bool {
    view.has_generated_key(&READ, &[generated::SERVICE_ACCOUNT, namespace])
}

/// Whether a Service selects pods whose workload is not among the objects. In files they may come from a kind without
/// rules, such as an Argo Rollout, so their labels are unknown. If pods were listed, they would include these. Needs
/// [`WORKLOADS`], [`Kind::Namespace`] and [`Kind::MeshConfig`].
pub fn is_for_unknown_pods(view: &View<'_>, service: &Resource) -> bool {
    let selector = Selector::new(&service.spec()["selector"]);
    if selector.is_empty() {
        return false;
    }
    let values: Vec<&str> = selector.pairs().iter().map(|(_, value)| *value).collect();
    view.may_make_pods(&service.namespace, &values)
        || !knows_namespaces(view)
            && !view.has_in(Kind::Pod, &service.namespace)
            && !view.has_workload(Within::Namespace(&service.namespace), &selector)
}

/// The same for pods with these labels. Needs [`Kind::Service`] too.
pub fn are_unknown_pods(view: &View<'_>, namespace: &str, labels: &Value) -> bool {
    view.services_selecting(namespace, labels).iter().any(|service| is_for_unknown_pods(view, service))
}
