//! Helpers that several rules use: suggestions, completeness of the objects, gateways of a `VirtualService`, lists in
//! messages, workload selectors, and codes that several rules report. Contains no rule.

pub mod common_codes;
pub mod completeness;
pub mod gateway_binding;
pub mod suggest;
pub mod text;
pub mod workload_selection;
