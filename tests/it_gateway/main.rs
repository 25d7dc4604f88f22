//! The gateway as a process: HTTP against a real nats-server and a real worker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod access;
mod certificates;
mod commands;
mod endpoint;
mod examples;
mod figures;
mod gateway;
mod hostile;
mod mesh;
#[path = "../mesh_settings/mod.rs"]
mod mesh_settings;
mod sinks;
mod streams;
#[path = "../support/mod.rs"]
mod support;
