//! The observed state of Istio in a cluster, as far as plans and checks need it. `task::mesh` reads it.

use serde_json::Value;

use super::owner::Owner;
use super::{Component, Kubernetes, Provenance};

/// One cluster.
#[derive(Debug, Clone)]
pub struct ObservedMesh {
    /// The API server.
    pub kubernetes: Kubernetes,
    /// Installations of this worker, by their inventories.
    pub installed: Vec<Installed>,
    /// Deployments of istiod, installed by any tool.
    pub control_planes: Vec<ControlPlane>,
    /// Webhook configurations of injectors, installed by any tool.
    pub webhooks: Vec<Webhook>,
    /// Version of the Gateway API's CRDs; `None` without CRDs, `unknown` without the version annotation.
    pub gateway_api: Option<String>,
    /// The Kubernetes platform, such as `gke`; `None` if it is not recognized.
    pub platform: Option<&'static str>,
}

/// One inventory.
#[derive(Debug, Clone)]
pub struct Installed {
    /// Its name.
    pub installation: String,
    /// Its component, with the chart, version and values that it was rendered from.
    pub origin: Provenance,
}

/// One istiod.
#[derive(Debug, Clone)]
pub struct ControlPlane {
    /// The Deployment's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its revision, `default` for the default one.
    pub revision: String,
    /// Tag of its image.
    pub version: Option<String>,
    /// Who made it.
    pub owner: Owner,
    /// Whether it is available.
    pub ready: bool,
}

/// One `MutatingWebhookConfiguration` of an injector.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Its name.
    pub name: String,
    /// The revision it calls.
    pub revision: String,
    /// The tag it stands for.
    pub tag: Option<String>,
    /// Its `webhooks`.
    pub hooks: Vec<Value>,
    /// Who made it.
    pub owner: Owner,
}

impl ObservedMesh {
    /// The installations of a component.
    pub fn installed(&self, component: Component) -> impl Iterator<Item = &Provenance> {
        self.installed.iter().map(|it| &it.origin).filter(move |origin| origin.component == component)
    }

    /// The control plane of a revision (`default` for the default one) that this worker has installed.
    #[must_use]
    pub fn istiod(&self, revision: &str) -> Option<&Provenance> {
        self.installed(Component::Istiod).find(|origin| origin.name == revision)
    }
}
