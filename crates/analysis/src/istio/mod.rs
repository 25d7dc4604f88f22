//! Facts about Istio and Kubernetes that every layer needs, each in one place: what a `LabelSelector` selects, how a
//! namespace and a pod take part in the mesh, which protocol a port has, which ports Istio uses, which Service a host means,
//! when a pod has ended, what a revision label means, which waypoint an object uses, what manages an object, which component
//! of Istio it is. Pure; works on any JSON value that implements [`Json`].

pub mod component;
pub mod host;
mod json;
pub mod managed;
pub mod membership;
pub mod pod;
pub mod port;
pub mod protocol;
pub mod selector;
pub mod topology;
pub mod waypoint;

pub use json::Json;
