//! Compares configuration with what is known to be right: objects in, findings out. Pure: knows neither the bus nor a
//! cluster; `source` alone reads files.
//!
//! A [`source`] makes [`Resource`]s of text, a [`Snapshot`] sorts them, [`run()`] calls the [`rules`] with a [`View`]
//! of it, and [`report`] shows the [`Finding`]s. A new rule is one file and one line: `docs/adding-a-rule.md`.

mod alternatives;
mod code;
mod crd;
mod field;
mod finding;
mod fingerprint;
pub mod generated;
pub mod hosts;
pub mod incremental;
mod index;
pub mod istio;
mod kind;
pub mod membership;
pub mod mesh;
mod node;
mod placeholder;
mod question;
pub mod report;
mod resource;
mod rule;
pub mod rules;
mod run;
mod selector;
pub mod snapshot;
pub mod source;
pub mod suppress;
mod syntax;
mod view;
mod workloads;

pub use alternatives::run_alternatives;
pub use code::{Code, Example, Level};
pub use crd::condense::Condenser;
pub use finding::{Finding, Findings, ObjectRef};
pub use index::{KeyIndex, Keys};
pub use kind::Kind;
pub use mesh::Mesh;
pub use node::Node;
pub use resource::{Origin, Resource};
pub use rule::{Check, Rule};
pub use run::{run, run_until};
pub use selector::Selector;
pub use snapshot::{Settings, Snapshot};
pub use view::View;
pub use workloads::{WORKLOADS, Within};

#[cfg(test)]
mod tests;
