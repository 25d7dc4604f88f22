//! Shared by all crates of sailhand: error codes and classes, spelling suggestions, text wrapping. No I/O.

pub mod error;
pub mod prose;
pub mod suggest;
