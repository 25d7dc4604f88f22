//! Fault tests: a lane with real servers and real worker processes (`lane`), what a seed does on it (`schedule`, `play`),
//! and whether the promises held, by what streams and cluster hold afterwards (`verify`).
#![allow(dead_code, reason = "the runner and the single scenarios each use a part of this")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a harness that cannot get its parts has to fail with a message, and other processes have their own time"
)]

pub mod counts;
pub mod environment;
pub mod play;
pub mod schedule;
pub mod verify;
pub mod worker;
