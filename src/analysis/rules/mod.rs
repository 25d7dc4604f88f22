//! The rules: a folder for each family, a file for each rule with its codes and their documentation. The codes that
//! several rules report are in `shared.rs`. Rules know the view they are given and nothing of each other.

mod destination_rule;
mod mesh_networks;
pub mod shared;
mod telemetry;
mod workload;

use super::{Code, Rule};

/// All rules. A new one is a line here.
pub static ALL: &[&Rule] = &[
    &destination_rule::ca_certificate::RULE,
    &mesh_networks::registry::RULE,
    &telemetry::default_selector::RULE,
    &workload::application_uid::RULE,
];

/// All codes that some rule can report, by their ids.
#[must_use]
pub fn codes() -> Vec<&'static Code> {
    let mut codes: Vec<&'static Code> = ALL.iter().flat_map(|rule| rule.codes).copied().collect();
    codes.sort_by_key(|code| code.id);
    codes.dedup();
    codes
}

#[cfg(test)]
mod tests;
