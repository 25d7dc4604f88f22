//! Rules about Istio's annotations on objects of Kubernetes.

pub mod alpha;
pub mod known;
mod table;
mod value;
