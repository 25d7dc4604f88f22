//! Rules about what protects the mesh.

pub mod blocked_cidrs;
