//! Single faults that are made to happen for certain, on real servers and worker processes.
#![cfg(feature = "failpoints")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../chaos/mod.rs"]
mod chaos;
#[path = "../cluster_target/mod.rs"]
mod cluster_target;
mod mesh;
#[path = "../mesh_settings/mod.rs"]
mod mesh_settings;
#[path = "../mesh_target/mod.rs"]
mod mesh_target;
mod scenarios;
#[path = "../support/mod.rs"]
mod support;
