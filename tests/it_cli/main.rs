//! The command line as a process, against a real nats-server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod bus;
mod conformance;
mod dev;
mod help;
mod lists;
mod local;
mod operator;
#[path = "../support/mod.rs"]
mod support;
mod terminal;
mod usage;
