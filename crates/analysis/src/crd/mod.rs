//! Validates objects against the schemas of their `CustomResourceDefinition`s, as the API server does on apply.
//! Independent of the meaning of the fields.

pub mod cel;
mod check;
pub mod condense;
mod schema;
mod values;

pub use check::{Trouble, check};
pub use schema::Schemas;
