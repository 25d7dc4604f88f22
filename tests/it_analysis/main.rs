//! The rules, their outputs and the manifest parsers, on files and compared with istioctl.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod absence;
mod applied_trees;
mod cases;
mod configurations;
#[path = "../support/corpus.rs"]
mod corpus;
mod crd;
#[path = "../analysis/differences.rs"]
mod differences;
mod differential;
mod false_positives;
mod folders;
mod generated_objects;
mod hostile_input;
mod kustomize;
mod outputs;
mod page;
#[path = "../analysis/random_objects.rs"]
mod random_objects;
mod sarif;
mod snapshots;
#[path = "../support/mod.rs"]
mod support;
mod trees;
mod validation;
#[path = "../analysis/cases.rs"]
mod validation_cases;
mod wild_trees;
