//! Who is in the mesh, and how: by sidecar, by ambient, or not. Source: istio
//! `pkg/config/analysis/analyzers/util/in_mesh.go`; revisions, which it leaves out, are known here.

pub use super::istio::membership::NamespaceMode;
use super::istio::pod;
use super::{Resource, View};

/// What the labels of a Namespace set.
#[must_use]
pub fn namespace_mode(namespace: &Resource) -> NamespaceMode<'_> {
    NamespaceMode::of_labels(namespace.labels())
}

/// Part of the control plane, or a gateway made by its chart.
#[must_use]
pub fn is_control_plane(resource: &Resource) -> bool {
    resource.label("istio").is_some() || resource.label("release") == Some("istio")
}

/// A gateway whose Deployment and Service Istio has made from a Kubernetes Gateway.
#[must_use]
pub fn is_managed_gateway(resource: &Resource) -> bool {
    resource.label("gateway.istio.io/managed") == Some("istio.io-mesh-controller")
        || resource.label("gateway.istio.io/managed") == Some("istio.io-gateway-controller")
}

/// Whether a pod, or the template of a workload, has a proxy beside it already.
#[must_use]
pub fn has_sidecar(workload: &Resource) -> bool {
    pod::has_sidecar(workload.pod_template())
}

/// What a pod or template says about its own injection: the label, else the annotation of the same name.
#[must_use]
pub fn own_injection(workload: &Resource) -> Option<&str> {
    const INJECT: &str = "sidecar.istio.io/inject";
    let metadata = &workload.pod_template()["metadata"];
    metadata["labels"][INJECT].as_str().or_else(|| metadata["annotations"][INJECT].as_str())
}

impl<'a> View<'a> {
    /// The Namespace object a resource lives in, if it is known. Needs [`Kind::Namespace`](super::Kind).
    #[must_use]
    pub fn namespace_of(&self, resource: &Resource) -> Option<&'a Resource> {
        self.namespace(&resource.namespace, &resource.cluster)
    }

    /// What the namespace of a resource says; nothing if the namespace is not known. Needs [`Kind::Namespace`](super::Kind).
    #[must_use]
    pub fn mode_of(&self, resource: &Resource) -> NamespaceMode<'a> {
        self.namespace_of(resource).map(namespace_mode).unwrap_or_default()
    }

    /// Whether a pod, or the pods of a workload, have or get a sidecar. Needs [`Kind::Namespace`](super::Kind).
    #[must_use]
    pub fn is_injected(&self, workload: &Resource) -> bool {
        if has_sidecar(workload) {
            return true;
        }
        own_injection(workload).map_or_else(|| self.mode_of(workload).injects(), |inject| inject == "true")
    }

    /// Whether a pod, or the pods of a workload, are in the ambient mesh. Needs [`Kind::Namespace`](super::Kind).
    #[must_use]
    pub fn is_ambient(&self, workload: &Resource) -> bool {
        if workload.annotation("ambient.istio.io/redirection") == Some("enabled") {
            return true;
        }
        if has_sidecar(workload) || own_injection(workload) == Some("true") {
            return false;
        }
        match workload.pod_labels()["istio.io/dataplane-mode"].as_str() {
            Some(mode) => mode == "ambient",
            None => self.mode_of(workload).is_ambient(),
        }
    }

    /// Whether a pod, or the pods of a workload, are in the mesh either way. Needs [`Kind::Namespace`](super::Kind).
    #[must_use]
    pub fn is_in_mesh(&self, workload: &Resource) -> bool {
        self.is_injected(workload) || self.is_ambient(workload)
    }
}
