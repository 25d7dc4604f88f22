//! Rules about what comes into the mesh and leaves it: gateways, and TLS with the world outside.

pub mod broad_hosts;
pub mod https_redirect;
pub mod reused_connection;
pub mod tls_origination;
pub mod tls_routes;
