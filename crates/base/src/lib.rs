//! What every crate of sailhand shares: error codes and classes, spelling suggestions, line wrapping. No I/O.

pub mod error;
pub mod prose;
pub mod suggest;
