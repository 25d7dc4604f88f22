//! Shared by all crates of sailhand: error codes and classes, spelling suggestions, text wrapping, hex digits, text in
//! XML. No I/O.

pub mod error;
pub mod hex;
pub mod omit;
pub mod prose;
pub mod suggest;
pub mod xml;
