//! Rules about the Gateway API.

pub mod crd_version;
