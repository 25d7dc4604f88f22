//! Rules about sidecar injection.

pub mod auto_image;
pub mod image;
pub mod namespace;
pub mod webhook;
