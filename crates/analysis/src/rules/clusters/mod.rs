//! Rules about multicluster meshes: settings that must be equal in all clusters, and settings that must be unique.

pub mod identity;
pub mod namespaces;
pub mod networks;
pub mod same_configuration;
pub mod service;
