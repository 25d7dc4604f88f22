//! Determines whether workloads are in the mesh: with a sidecar, in ambient mode, or not at all. Source: istio
//! `pkg/config/analysis/analyzers/util/in_mesh.go`; in addition it supports revisions.

pub use super::istio::membership::NamespaceMode;
use super::istio::membership::{AMBIENT, DATAPLANE, INJECT};
use super::istio::{managed, pod};
use super::{Resource, View};

/// What the labels of a Namespace set.
#[must_use]
pub fn namespace_mode(namespace: &Resource) -> NamespaceMode<'_> {
    NamespaceMode::of_labels(namespace.labels())
}

/// Whether the workload is part of the control plane, or a gateway of Istio's Helm chart.
#[must_use]
pub fn is_control_plane(resource: &Resource) -> bool {
    resource.label("istio").is_some() || resource.label("release") == Some("istio")
}

/// Whether Istio generated the gateway's Deployment and Service from a Kubernetes Gateway.
#[must_use]
pub fn is_managed_gateway(resource: &Resource) -> bool {
    managed::is_of_gateway(resource.labels())
}

/// Whether the pod or pod template already contains a proxy.
#[must_use]
pub fn has_sidecar(workload: &Resource) -> bool {
    pod::has_sidecar(workload.pod_template())
}

/// Injection setting of a pod or template: the label, else the annotation of the same name.
#[must_use]
pub fn own_injection(workload: &Resource) -> Option<&str> {
    let metadata = &workload.pod_template()["metadata"];
    metadata["labels"][INJECT].as_str().or_else(|| metadata["annotations"][INJECT].as_str())
}

impl<'a> View<'a> {
    /// The Namespace object of a resource, if it is among the objects. Needs [`Kind::Namespace`](super::Kind).
    #[must_use]
    pub fn namespace_of(&self, resource: &Resource) -> Option<&'a Resource> {
        self.namespace(&resource.namespace, &resource.cluster)
    }

    /// Mesh labels of the resource's namespace; empty if the namespace is not among the objects. Needs
    /// [`Kind::Namespace`](super::Kind).
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

    /// Whether a pod, or the pods of a workload, are in ambient mode. Needs [`Kind::Namespace`](super::Kind).
    #[must_use]
    pub fn is_ambient(&self, workload: &Resource) -> bool {
        if pod::is_redirected(&workload.root) {
            return true;
        }
        if has_sidecar(workload) || own_injection(workload) == Some("true") {
            return false;
        }
        match workload.pod_labels()[DATAPLANE].as_str() {
            Some(mode) => mode == AMBIENT,
            None => self.mode_of(workload).is_ambient(),
        }
    }

    /// Whether a pod, or the pods of a workload, are in the mesh in either mode. Needs
    /// [`Kind::Namespace`](super::Kind).
    #[must_use]
    pub fn is_in_mesh(&self, workload: &Resource) -> bool {
        self.is_injected(workload) || self.is_ambient(workload)
    }
}
