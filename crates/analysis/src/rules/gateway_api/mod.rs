//! Rules about the Gateway API: CRDs, gateways, routes, and grants between namespaces.

pub mod addresses;
pub mod backends;
pub mod classes;
pub mod crd_version;
pub mod grant_namespaces;
mod grants;
pub mod listener_certificates;
pub mod listener_sets;
pub mod parents;
pub mod selector;
mod status;
