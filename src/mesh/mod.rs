//! Facts about installing Istio: versions and their requirements, profiles and components, the order of an installation,
//! revisions and tags, owners. Pure: uses neither a Kubernetes client nor the bus.

pub mod admission;
mod component;
mod error;
mod facts;
mod finding;
pub mod istio_operator;
pub mod owner;
mod plan;
mod profile;
mod quantity;
pub mod quota;
mod request;
pub mod resources;
mod side_effects;
pub mod skew;
pub mod support;
mod unused_values;
pub mod usage;
mod validate;
mod values;
mod version;

pub use component::{Component, Provenance};
pub use error::Error;
pub use facts::{ControlPlane, Installed, ObservedMesh, Webhook};
pub use finding::{Finding, Severity};
pub use plan::{Keep, Plan, PlannedChart, plan};
pub use profile::{Mode, Profile};
pub use request::{ComponentValues, Gateway, Request, Switches};
pub use side_effects::side_effects;
pub use unused_values::unused_values;
pub use values::merge;
pub use version::{Kubernetes, Version};
