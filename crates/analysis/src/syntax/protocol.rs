//! Protocols of ports with Istio's names. Source: `pkg/config/protocol/instance.go`.

const NAMES: &[&str] =
    &["tcp", "udp", "grpc", "grpc-web", "http", "http_proxy", "http2", "https", "tls", "mongo", "redis", "mysql"];

fn is_one_of(name: &str, of: &[&str]) -> bool {
    of.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Whether Istio supports the protocol; case-insensitive.
#[must_use]
pub fn is_known(name: &str) -> bool {
    is_one_of(name, NAMES)
}

/// HTTP that the proxy can parse.
#[must_use]
pub fn is_http(name: &str) -> bool {
    is_one_of(name, &["http", "http2", "http_proxy", "grpc", "grpc-web"])
}

/// Starts with a TLS handshake.
#[must_use]
pub fn is_tls(name: &str) -> bool {
    is_one_of(name, &["https", "tls"])
}

/// An opaque stream, in which the proxy cannot read a host name.
#[must_use]
pub fn is_tcp(name: &str) -> bool {
    is_one_of(name, &["tcp", "https", "tls", "mongo", "redis", "mysql"])
}

/// All protocols, for messages.
#[must_use]
pub fn names() -> String {
    NAMES.join(", ")
}
