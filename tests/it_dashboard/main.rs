//! The dashboard as a process: HTTP against a real nats-server and a real worker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod access;
mod http;
mod pages;
mod results;
mod send;
#[path = "../support/mod.rs"]
mod support;
