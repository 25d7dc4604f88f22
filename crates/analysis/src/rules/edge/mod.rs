//! Rules about traffic that enters or leaves the mesh: gateways and TLS origination.

pub mod broad_hosts;
pub mod https_redirect;
pub mod reused_connection;
pub mod tls_origination;
pub mod tls_routes;
