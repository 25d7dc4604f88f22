//! `mesh.install` and its family: Istio itself, brought into a cluster, kept, moved to another version and taken out.
//! What Istio is made of is known by `crate::mesh`, charts by `crate::chart`; here the two meet a cluster.

mod conduct;
mod facts;
mod install;
mod labelled;
mod part;
mod precheck;
mod report;
mod work;

pub use conduct::Conduct;
pub use install::{Install, InstallParams};
pub use report::{MeshReport, PartReport};

/// The lease of all verbs that write to the meshes of one cluster: they share CRDs, nodes' parts and tags.
const LEASE: &str = "mesh";
