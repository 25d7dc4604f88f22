//! `[dashboard]`: address, identity and permissions of `sailhand dashboard`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Stands for the id of a trace in `dashboard.trace_url`.
pub const TRACE_ID: &str = "{trace_id}";

/// `[dashboard]`: the web pages.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dashboard {
    /// Address and port of the HTTP server. An address other than loopback needs `identity_header` or `oidc`.
    pub listen: SocketAddr,
    /// Host names that requests may use besides `localhost` and loopback addresses, without a port. When empty, an
    /// address other than loopback accepts every host name.
    pub hosts: Vec<String>,
    /// Header in which the proxy sends the name of the authenticated user, such as `X-Forwarded-User`.
    pub identity_header: Option<String>,
    /// Addresses of the proxies whose `identity_header` is accepted, such as `10.0.0.0/8`.
    pub trusted_proxies: Vec<Network>,
    /// Verification of OIDC bearer tokens.
    pub oidc: Option<Oidc>,
    /// Whether users may cancel, pause, replay, purge and send. The NATS user needs the operator's permissions.
    pub allow_actions: bool,
    /// Users that may do so; every authenticated user when empty.
    pub operators: Vec<String>,
    /// Number of runs in the list, 1 to 200,000. Older runs are left out.
    pub max_runs: usize,
    /// Number of HTTP connections, 1 to 10,000.
    pub max_connections: usize,
    /// Address of a trace in a tracing system. `{trace_id}` is replaced by the trace's 32 hex digits.
    pub trace_url: Option<String>,
}

impl Default for Dashboard {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8322)),
            hosts: Vec::new(),
            identity_header: None,
            trusted_proxies: Vec::new(),
            oidc: None,
            allow_actions: false,
            operators: Vec::new(),
            max_runs: 60_000,
            max_connections: 256,
            trace_url: None,
        }
    }
}

/// `[dashboard.oidc]` and `[gateway.oidc.<name>]`: which bearer tokens are accepted.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    /// Required value of the claim `iss`.
    pub issuer: String,
    /// Required value of the claim `aud`.
    pub audience: String,
    /// JSON Web Key Set of the issuer: a file, or an `https://` URL.
    pub jwks: String,
    /// Certificate authorities (PEM) of the server of `jwks`, besides those of the system.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Accepted signature algorithms. Symmetric algorithms (`HS256`, …) are refused.
    #[serde(default = "algorithms")]
    pub algorithms: Vec<String>,
    /// Claim with the user's name.
    #[serde(default = "user_claim")]
    pub user_claim: String,
}

/// Checks what the types do not; `key` is the path of the section.
pub(super) fn validate_oidc(oidc: &Oidc, key: &str) -> Result<(), (String, String)> {
    let known = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
    let plain = oidc.jwks.starts_with("http://");
    let algorithms = oidc.algorithms.iter().all(|algorithm| known.contains(&algorithm.as_str()));
    let listed = "must be some of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA";
    for (holds, name, reason) in [
        (!oidc.issuer.is_empty(), "issuer", "must not be empty"),
        (!oidc.audience.is_empty(), "audience", "must not be empty"),
        (!plain && !oidc.jwks.is_empty(), "jwks", "must be a file or an https:// URL"),
        (algorithms && !oidc.algorithms.is_empty(), "algorithms", listed),
    ] {
        if !holds {
            return Err((format!("{key}.{name}"), reason.to_owned()));
        }
    }
    Ok(())
}

fn algorithms() -> Vec<String> {
    vec!["RS256".to_owned(), "ES256".to_owned()]
}

fn user_claim() -> String {
    "sub".to_owned()
}

/// An IP address, or a range of addresses in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether the range includes the address. IPv4-mapped IPv6 addresses count as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.bits);
                let part = |ip: u32| ip.checked_shr(shift).unwrap_or_default();
                part(network.to_bits()) == part(address.to_bits())
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.bits);
                let part = |ip: u128| ip.checked_shr(shift).unwrap_or_default();
                part(network.to_bits()) == part(address.to_bits())
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is neither an IP address nor a range such as 10.0.0.0/8");
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse::<u8>().map_err(|_| wrong()))?;
        if bits <= most { Ok(Self { address, bits }) } else { Err(wrong()) }
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        format!("{}/{}", network.address, network.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_contains_only_its_addresses() {
        for (network, address, contained) in [
            ("10.0.0.0/8", "10.200.1.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("fd00::/8", "fd12::1", true),
            ("::/0", "2001:db8::1", true),
        ] {
            let range: Network = network.parse().unwrap();
            assert_eq!(range.contains(address.parse().unwrap()), contained, "{network} {address}");
        }
        for wrong in ["10.0.0.0/33", "host", "10.0.0.0/", ""] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
