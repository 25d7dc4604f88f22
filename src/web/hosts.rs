//! Which host names requests may use. A browser sets `Host`, so a page of another name that resolves to this address
//! (DNS rebinding) is refused.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, header};

/// Host names that a server accepts.
pub(crate) struct Hosts {
    is_loopback: bool,
    names: Vec<String>,
}

impl Hosts {
    /// Names of the configuration, without ports. On loopback, `localhost` and loopback addresses are accepted too. On
    /// another address, every name is accepted if `names` is empty.
    pub(crate) fn new(listen: SocketAddr, names: &[String]) -> Self {
        let names = names.iter().map(|name| name.to_lowercase()).collect();
        Self { is_loopback: listen.ip().is_loopback(), names }
    }

    /// Checks `Host`.
    ///
    /// # Errors
    /// The host that is refused.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), String> {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let name = without_port(host).to_lowercase();
        let is_local = name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let any = !self.is_loopback && self.names.is_empty() && !name.is_empty();
        let allowed = any || self.names.contains(&name) || (self.is_loopback && is_local);
        if allowed { Ok(()) } else { Err(host.to_owned()) }
    }
}

fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').map_or(rest, |(address, _)| address);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn allowed(names: &[&str], host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::try_from(host).unwrap());
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        Hosts::new(([127, 0, 0, 1], 8322).into(), &names).check(&headers).is_ok()
    }

    #[test]
    fn loopback_serves_only_local_and_configured_names() {
        for host in ["localhost:8322", "127.0.0.1:8322", "[::1]:8322", "LOCALHOST"] {
            assert!(allowed(&[], host), "{host}");
        }
        for host in ["rebind.example.com:8322", "127.0.0.1.example.com", "", "10.0.0.1:8322", "localhost.example.com"] {
            assert!(!allowed(&[], host), "{host}");
        }
        assert!(allowed(&["Sailhand.example.com"], "sailhand.example.com"));
    }
}
