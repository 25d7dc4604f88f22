//! Determines the declared protocol of a port. Source: istio `pkg/config/protocol`, protocol selection: `appProtocol`,
//! else the name up to its first dash.

use crate::{Kind, Resource, Value};

/// Protocol of a port as far as rules need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    /// Plaintext HTTP of any version, including gRPC.
    Http,
    /// TLS with any content.
    Tls,
    /// Another protocol, such as TCP or Mongo.
    Other,
    /// The port declares no protocol.
    Unsaid,
}

/// Protocol of a port of a Service or `ServiceEntry`.
pub fn spoken(provider: &Resource, port: &Value) -> Spoken {
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

/// Port number that clients use.
pub fn number(provider: &Resource, port: &Value) -> Option<i64> {
    port[if provider.kind == Kind::Service { "port" } else { "number" }].as_int()
}
