//! Static analysis of Istio configuration: objects in, findings out. Pure: has no access to the bus or a cluster; only
//! `source` reads files.
//!
//! A [`source`] parses text into [`Resource`]s, a [`Snapshot`] sorts and indexes them, [`run()`] calls the [`rules`]
//! with a [`View`] of the snapshot, and [`report`] formats the [`Finding`]s. To add a rule, see
//! `docs/adding-a-rule.md`.

mod alternatives;
mod builds;
mod code;
mod crd;
pub mod editing;
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
mod placeholder;
mod query;
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
mod units;
mod unstated;
mod value;
mod view;
mod workloads;

pub use builds::run_alternatives;
pub use code::{Code, Example, Level};
pub use crd::condense::Condenser;
pub use finding::{Finding, Findings, Fix, ObjectRef};
pub use index::{KeyIndex, Keys};
pub use kind::Kind;
pub use mesh::Mesh;
pub use resource::{Resource, SourceSpan};
pub use rule::{Check, Rule};
pub use run::{run, run_until};
pub use selector::Selector;
pub use snapshot::{Settings, Snapshot};
pub use units::Layout;
pub use value::Value;
pub use view::View;
pub use workloads::{WORKLOADS, Within};

#[cfg(test)]
mod tests;
