//! A real API server, one for the whole run: apply, delete, readiness, the tasks that write objects, live analysis.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod addons;
mod allow_list;
mod analyze;
mod apply;
#[path = "../cluster_target/mod.rs"]
mod cluster_target;
mod config;
mod conformance;
mod connection;
mod delete;
mod immutable;
mod kubectl;
mod names;
mod namespace;
mod ownership;
mod policy;
mod refusals;
mod reports;
mod samples;
mod schema;
mod served;
mod smi;
#[path = "../support/mod.rs"]
mod support;
mod tools_compared;
mod traffic;
mod wait;
mod watch_analyze;
mod webhooks;
