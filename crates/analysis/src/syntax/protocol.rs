//! Protocols of ports, as Istio names them. Source: `pkg/config/protocol/instance.go`.

const NAMES: &[&str] =
    &["tcp", "udp", "grpc", "grpc-web", "http", "http_proxy", "http2", "https", "tls", "mongo", "redis", "mysql"];

fn is_one_of(name: &str, of: &[&str]) -> bool {
    of.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Known to Istio, in any case of letters.
#[must_use]
pub fn is_known(name: &str) -> bool {
    is_one_of(name, NAMES)
}

/// HTTP that the proxy can read.
#[must_use]
pub fn is_http(name: &str) -> bool {
    is_one_of(name, &["http", "http2", "http_proxy", "grpc", "grpc-web"])
}

/// Begins with TLS.
#[must_use]
pub fn is_tls(name: &str) -> bool {
    is_one_of(name, &["https", "tls"])
}

/// A stream to the proxy, without a host in it that it can read.
#[must_use]
pub fn is_tcp(name: &str) -> bool {
    is_one_of(name, &["tcp", "https", "tls", "mongo", "redis", "mysql"])
}

/// All of them, for messages.
#[must_use]
pub fn names() -> String {
    NAMES.join(", ")
}
