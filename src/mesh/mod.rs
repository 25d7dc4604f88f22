//! What is known of Istio itself: versions and what they need, profiles and components, the order of an installation,
//! revisions and tags, who installed what. Pure: knows no client, neither of the cluster nor of the bus.

pub mod admission;
mod aside;
mod component;
mod contradiction;
mod error;
mod facts;
mod finding;
pub mod owner;
mod plan;
mod profile;
pub mod quota;
mod request;
pub mod room;
pub mod skew;
pub mod support;
mod unread;
pub mod usage;
mod values;
mod version;

pub use aside::aside;
pub use component::{Component, Origin};
pub use error::Error;
pub use facts::{ControlPlane, Facts, Installed, Webhook};
pub use finding::{Finding, Severity};
pub use plan::{Keep, Plan, Step, plan};
pub use profile::{Mode, Profile};
pub use request::{ComponentValues, Gateway, Request, Switches};
pub use unread::unread;
pub use values::merge;
pub use version::{Kubernetes, Version};
