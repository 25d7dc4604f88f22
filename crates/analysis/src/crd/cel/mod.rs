//! The Common Expression Language, as far as the rules of custom resource definitions use it. Works on the objects as
//! they were read, with the defaults of their schema, and copies nothing.
//!
//! Why not the `cel` crate: its values are copies, it knows neither defaults nor the API server's own functions, and its
//! durations need `chrono`, which this project bans.

mod eval;
mod lex;
mod parse;
mod value;

pub use eval::{Error, holds};
pub use parse::{Error as ParseError, Expr, parse};
