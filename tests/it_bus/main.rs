//! A real nats-server, one for each test: delivery, topology, permissions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod auth;
mod autoscale;
mod facts;
mod in_process;
mod limits;
mod migration;
mod permissions;
mod quotas;
mod stored;
#[path = "../support/mod.rs"]
mod support;
mod topology;
mod waiting;
