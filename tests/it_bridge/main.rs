//! `sailhand bridge` as a process: gRPC against a real nats-server, a real worker and a real API server. Meshery's HTTP
//! endpoints are strict doubles, since no Meshery server can be had from a registry.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod bridge;
mod calls;
mod certificates;
mod figures;
mod hostile;
mod kills;
#[path = "../mesh_settings/mod.rs"]
mod mesh_settings;
mod meshery;
mod permissions;
mod probe;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod walk;
