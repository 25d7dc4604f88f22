//! Rules about the status of objects.

pub mod condition;
