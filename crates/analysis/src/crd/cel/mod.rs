//! The Common Expression Language, as far as CRD validation rules use it. Evaluates parsed objects directly, with the
//! defaults of their schema, and without copies.
//!
//! Why not the `cel` crate: it copies values, supports neither schema defaults nor the API server's function libraries,
//! and its durations need `chrono`, which this project bans.

mod eval;
mod lex;
mod parse;
mod value;

pub use eval::{Error, holds};
pub use parse::{Error as ParseError, Expr, parse};
