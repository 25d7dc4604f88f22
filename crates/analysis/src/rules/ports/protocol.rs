//! What a port says about its protocol. Source: istio `pkg/config/protocol`, protocol selection: `appProtocol`, else
//! the name up to its first dash.

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
    let said = if provider.kind == Kind::ServiceEntry {
        port["protocol"].text()
    } else if port["appProtocol"].is_set() {
        port["appProtocol"].text().trim_start_matches("kubernetes.io/")
    } else {
        port["name"].text().split('-').next().unwrap_or_default()
    };
    match said.to_ascii_lowercase().as_str() {
        "http" | "http2" | "grpc" | "grpc-web" | "http_proxy" | "h2c" | "ws" => Spoken::Http,
        "https" | "tls" | "wss" => Spoken::Tls,
        "tcp" | "udp" | "mongo" | "mysql" | "redis" => Spoken::Other,
        _ => Spoken::Unsaid,
    }
}

/// The number clients use.
pub fn number(provider: &Resource, port: &Node) -> Option<i64> {
    port[if provider.kind == Kind::Service { "port" } else { "number" }].as_int()
}
