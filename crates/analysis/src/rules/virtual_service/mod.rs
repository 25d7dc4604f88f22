//! Rules about `VirtualService`.

pub mod delegates;
pub mod destination_host;
pub mod gateways;
pub mod jwt_claims;
pub mod mesh_hosts;
mod route;
pub mod subsets;
