//! Facts about Istio and Kubernetes that every layer needs, each in one place: what a `LabelSelector` selects, how a
//! namespace and a pod take part in the mesh, which protocol a port has, which Service a host means, when a pod has
//! ended, what a revision label means, which waypoint an object uses. Pure; works on any JSON value that implements [`Json`].

pub mod host;
mod json;
pub mod membership;
pub mod pod;
pub mod protocol;
pub mod selector;
pub mod waypoint;

pub use json::Json;
