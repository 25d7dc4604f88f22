//! Determines the declared protocol of a port. Source: istio `pkg/config/protocol`, protocol selection: `appProtocol`,
//! else the name up to its first dash.

use crate::istio::protocol::{Protocol, of_declared_port, of_service_port};
use crate::{Kind, Resource, Value};

/// Protocol of a port as far as rules need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireProtocol {
    /// Plaintext HTTP of any version, including gRPC.
    Http,
    /// TLS with any content.
    Tls,
    /// Another protocol, such as TCP or Mongo.
    Other,
    /// The port declares no protocol.
    Unspecified,
}

/// Protocol of a port of a Service or `ServiceEntry`.
pub fn wire_protocol(provider: &Resource, port: &Value) -> WireProtocol {
    let declared = if provider.kind == Kind::ServiceEntry { of_declared_port(port) } else { of_service_port(port) };
    match declared {
        Protocol::Http => WireProtocol::Http,
        Protocol::Tls => WireProtocol::Tls,
        Protocol::Tcp | Protocol::Udp => WireProtocol::Other,
        Protocol::Undeclared => WireProtocol::Unspecified,
    }
}

/// Port number that clients use.
pub fn number(provider: &Resource, port: &Value) -> Option<i64> {
    port[if provider.kind == Kind::Service { "port" } else { "number" }].as_int()
}
