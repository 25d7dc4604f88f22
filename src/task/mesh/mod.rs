//! The verbs `mesh.install`, `mesh.upgrade`, `mesh.uninstall`, `mesh.status` and `mesh.precheck`. Plans come from
//! `crate::mesh`, charts from `crate::chart`; this module applies them to a cluster.

mod active_pods;
mod admission;
mod check;
mod common_params;
mod facts;
mod install;
mod leftovers;
mod mesh_run;
mod precheck;
mod prefixed_progress;
mod quota;
mod rehearsal;
mod rendered_chart;
mod report;
mod status;
mod uninstall;
mod upgrade;
mod validator;

pub use check::{Precheck, PrecheckParams, PrecheckReport};
pub use common_params::CommonParams;
pub use install::{Install, InstallParams};
pub use report::{MeshReport, PartReport};
pub use status::{Status, StatusParams, StatusReport};
pub use uninstall::{Uninstall, UninstallParams};
pub use upgrade::{Stage, Strategy, Upgrade, UpgradeGate, UpgradeGateReport, UpgradeObservation, UpgradeParams};

/// The lease of all verbs that write to the meshes of one cluster: they share CRDs, nodes' parts and tags.
const LEASE: &str = "mesh";
