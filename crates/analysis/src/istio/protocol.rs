//! The protocol of a port. Source: istio `pkg/config/kube/conversion.go` (`ConvertProtocol`), `pkg/config/protocol`.

use super::Json;

/// What a port declares about its protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP in any version without TLS, and gRPC: the proxy reads requests.
    Http,
    /// TLS with any content: the proxy reads only the server name.
    Tls,
    /// Another protocol over TCP: the proxy reads nothing.
    Tcp,
    /// UDP: the proxy does not handle it.
    Udp,
    /// Neither `appProtocol` nor the port name has a protocol that Istio knows. The proxy detects HTTP by the first bytes.
    Undeclared,
}

/// Of a port of a Service: `protocol: UDP`, else `appProtocol`, else the name up to its first dash.
pub fn of_service_port<J: Json>(port: &J) -> Protocol {
    if port.string_at(&["protocol"]) == Some("UDP") {
        return Protocol::Udp;
    }
    match port.string_at(&["appProtocol"]) {
        // Names of Kubernetes itself. `ws` and `wss` without the prefix are unknown to Istio.
        Some("kubernetes.io/h2c" | "kubernetes.io/ws") => Protocol::Http,
        Some("kubernetes.io/wss") => Protocol::Tls,
        Some(name) => of_prefix(name),
        None => of_prefix(port.string_at(&["name"]).unwrap_or_default()),
    }
}

/// Of a port of a ServiceEntry, a Gateway server or a Sidecar listener: the field `protocol`.
pub fn of_declared_port<J: Json>(port: &J) -> Protocol {
    of_name(port.string_at(&["protocol"]).unwrap_or_default())
}

/// Of a name such as `http-web` or `grpc-web`.
fn of_prefix(name: &str) -> Protocol {
    if name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("grpc-web")) {
        return Protocol::Http;
    }
    of_name(name.split('-').next().unwrap_or_default())
}

/// Of a protocol's name in any case of letters.
#[must_use]
pub fn of_name(name: &str) -> Protocol {
    let is = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    if is(&["http", "http2", "grpc", "grpc-web", "http_proxy"]) {
        Protocol::Http
    } else if is(&["https", "tls"]) {
        Protocol::Tls
    } else if is(&["tcp", "mongo", "mysql", "redis"]) {
        Protocol::Tcp
    } else if is(&["udp"]) {
        Protocol::Udp
    } else {
        Protocol::Undeclared
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The table of `pkg/config/kube/conversion_test.go`, `TestConvertProtocol`, and the names that our own copies
    /// judged differently before there was one place.
    #[test]
    fn protocol_follows_port_name_and_app_protocol() {
        for (port, wanted) in [
            (json!({"name": "http"}), Protocol::Http),
            (json!({"name": "HTTP-web"}), Protocol::Http),
            (json!({"name": "httptest"}), Protocol::Undeclared),
            (json!({"name": "grpc-web-x"}), Protocol::Http),
            (json!({"name": "GrPc"}), Protocol::Http),
            (json!({"name": "https-web"}), Protocol::Tls),
            (json!({"name": "tls"}), Protocol::Tls),
            (json!({"name": "mongo-db"}), Protocol::Tcp),
            (json!({"name": "web"}), Protocol::Undeclared),
            (json!({"name": ""}), Protocol::Undeclared),
            (json!({"name": "wss"}), Protocol::Undeclared),
            (json!({"name": "ws"}), Protocol::Undeclared),
            (json!({"name": "http", "protocol": "UDP"}), Protocol::Udp),
            (json!({"name": "tcp", "appProtocol": "http"}), Protocol::Http),
            (json!({"name": "http", "appProtocol": "x.example/y"}), Protocol::Undeclared),
            (json!({"appProtocol": "kubernetes.io/h2c"}), Protocol::Http),
            (json!({"appProtocol": "kubernetes.io/ws"}), Protocol::Http),
            (json!({"appProtocol": "kubernetes.io/wss"}), Protocol::Tls),
        ] {
            assert_eq!(of_service_port(&port), wanted, "{port}");
        }
        assert_eq!(of_declared_port(&json!({"protocol": "HTTP2"})), Protocol::Http);
        assert_eq!(of_declared_port(&json!({"name": "http", "protocol": "TCP"})), Protocol::Tcp);
    }
}
