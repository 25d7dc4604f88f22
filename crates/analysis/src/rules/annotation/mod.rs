//! Rules about Istio annotations on Kubernetes objects.

pub mod alpha;
pub mod known;
mod table;
mod value;
