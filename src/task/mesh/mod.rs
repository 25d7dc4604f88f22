//! `mesh.install` and its family: Istio itself, brought into a cluster, kept, moved to another version and taken out.
//! What Istio is made of is known by `crate::mesh`, charts by `crate::chart`; here the two meet a cluster.

mod check;
mod conduct;
mod facts;
mod install;
mod kept;
mod labelled;
mod part;
mod precheck;
mod report;
mod residue;
mod status;
mod uninstall;
mod upgrade;
mod work;

pub use check::{Precheck, PrecheckParams, PrecheckReport};
pub use conduct::Conduct;
pub use install::{Install, InstallParams};
pub use report::{MeshReport, PartReport};
pub use status::{Status, StatusParams, StatusReport};
pub use uninstall::{Uninstall, UninstallParams};
pub use upgrade::{Stage, Strategy, Upgrade, UpgradeParams};

/// The lease of all verbs that write to the meshes of one cluster: they share CRDs, nodes' parts and tags.
const LEASE: &str = "mesh";
