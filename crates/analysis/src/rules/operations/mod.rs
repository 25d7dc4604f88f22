//! Rules about the operation of the mesh: settings, control plane, gateways, and workloads outside the mesh.

pub mod availability;
pub mod debug_port;
pub mod egress;
pub mod far_rules;
pub mod injector;
pub mod locality;
pub mod members;
pub mod network_policies;
pub mod path_normalization;
pub mod pod_security;
pub mod proxy_versions;
pub mod tracing;
pub mod zones;
