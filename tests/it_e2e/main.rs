//! A command in; objects, events and a result out: a real nats-server and a real API server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod attachments;
mod commands;
mod conformance;
mod failures;
mod getting_started;
mod hostile;
mod lost_store;
mod mesh;
#[path = "../mesh_settings/mod.rs"]
mod mesh_settings;
mod pause;
mod poison;
mod refusals;
mod run;
mod soak;
mod stranded;
#[path = "../support/mod.rs"]
mod support;
mod targets;
mod watch_analyze;
