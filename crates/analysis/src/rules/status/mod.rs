//! Rules about what controllers have written into objects.

pub mod condition;
