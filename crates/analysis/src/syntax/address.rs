//! IP addresses, CIDRs and Unix domain sockets.
//!
//! Source: Go's `net/netip`, `pkg/config/validation/validation.go` (`ValidateUnixAddress`).

use core::net::{IpAddr, Ipv6Addr};

/// Scheme of a Unix domain socket.
pub const UNIX: &str = "unix://";

/// An IPv4 or IPv6 address; IPv6 may have a zone.
#[must_use]
pub fn is_ip(text: &str) -> bool {
    match text.split_once('%') {
        Some((address, zone)) => !zone.is_empty() && address.parse::<Ipv6Addr>().is_ok(),
        None => text.parse::<IpAddr>().is_ok(),
    }
}

/// `10.0.0.0/8`.
#[must_use]
pub fn is_block(text: &str) -> bool {
    let Some((address, bits)) = text.rsplit_once('/') else { return false };
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let plain = bits.bytes().all(|b| b.is_ascii_digit()) && (bits.len() == 1 || !bits.starts_with('0'));
    let most = if address.is_ipv4() { 32 } else { 128 };
    plain && bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

/// An IP address or CIDR.
#[must_use]
pub fn is_ip_or_block(text: &str) -> bool {
    if text.matches('/').count() == 1 { is_block(text) } else { is_ip(text) }
}

/// A path after `unix://`: absolute, or the name of an abstract socket (`@`).
#[must_use]
pub fn is_unix_path(path: &str) -> bool {
    path.starts_with('@') || (path.starts_with('/') && !path.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_cidrs() {
        for text in ["1.2.3.4", "::1", "fe80::1%eth0", "10.0.0.0/8", "::/0", "1.2.3.4/32"] {
            assert!(is_ip_or_block(text), "{text}");
        }
        for text in
            ["1.2.3", "01.2.3.4", "1.2.3.4%eth0", "::1%", "1.2.3.4/33", "1.2.3.4/08", "1.2.3.4/+8", "a/8", "", "1/2/3"]
        {
            assert!(!is_ip_or_block(text), "{text}");
        }
        assert!(
            is_unix_path("/a") && is_unix_path("@x") && !is_unix_path("/a/") && !is_unix_path("") && !is_unix_path("a")
        );
    }
}
