//! Objects against the schemas of their custom resource definitions, as the API server checks them when they are
//! applied. Must not know what the fields mean.

pub mod cel;
mod check;
pub mod condense;
mod schema;
mod values;

pub use check::{Trouble, check};
pub use schema::Schemas;
