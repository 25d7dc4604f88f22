//! What a port says about its protocol. Source: istio `pkg/config/protocol`, protocol selection: `appProtocol`, else
//! the name up to its first dash.

use crate::istio::protocol::{Protocol, of_declared_port, of_service_port};
use crate::{Kind, Node, Resource};

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    /// HTTP in any version, gRPC too, not encrypted.
    Http,
    /// TLS, whatever is inside.
    Tls,
    /// Something else.
    Other,
    /// The port does not say.
    Unsaid,
}

/// Of a port of a Service or `ServiceEntry`.
pub fn spoken(provider: &Resource, port: &Node) -> Spoken {
    let declared = if provider.kind == Kind::ServiceEntry { of_declared_port(port) } else { of_service_port(port) };
    match declared {
        Protocol::Http => Spoken::Http,
        Protocol::Tls => Spoken::Tls,
        Protocol::Tcp | Protocol::Udp => Spoken::Other,
        Protocol::Undeclared => Spoken::Unsaid,
    }
}

/// The number clients use.
pub fn number(provider: &Resource, port: &Node) -> Option<i64> {
    port[if provider.kind == Kind::Service { "port" } else { "number" }].as_int()
}
