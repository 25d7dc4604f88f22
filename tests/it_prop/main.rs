//! Properties and random schedules, in this process alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod analysis;
mod conformance;
mod conformance_ambient;
mod conformance_contract;
mod engine;
mod hostile;
mod incremental;
mod protocol;
mod quotas;
mod simulation;
#[allow(dead_code, reason = "the wrong translations run on a real cluster only")]
#[path = "../smi_mutants/mutants.rs"]
mod smi_mutants;
#[path = "../support/mod.rs"]
mod support;
mod trust;
