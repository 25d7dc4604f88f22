//! Rules about access control with `AuthorizationPolicy`.

pub mod default_deny;
pub mod host_ports;
pub mod http_on_tcp;
pub mod identity;
pub mod matching;
pub mod methods;
pub mod service_ports;
