//! Rules about what protects the mesh.

pub mod authorization;
pub mod blocked_cidrs;
pub mod token_not_read;
pub mod token_not_required;
