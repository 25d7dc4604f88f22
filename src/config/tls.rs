//! A second listener with mutual TLS: `[bridge.tls]` and `[gateway.tls]`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The listener. A client without a certificate of `client_ca_file` is refused.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MutualTls {
    /// Address and port.
    pub listen: SocketAddr,
    /// Certificate chain (PEM).
    pub cert_file: PathBuf,
    /// Key (PEM) of the certificate.
    pub key_file: PathBuf,
    /// Certificate authorities (PEM) of the clients.
    pub client_ca_file: PathBuf,
}
