//! Parameters and attachments that are too large for a message: `dataref` names an object of the object store by its SHA-256.

use sha2::{Digest, Sha256};

use super::Error;
use crate::hex::hex;

/// Largest object that a `dataref` may name, bytes.
pub const MAX_BYTES: usize = 16 * 1024 * 1024;

const SCHEME: &str = "nats-object://";

/// Digest and reference of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// SHA-256 in hex: its name in the bucket.
    pub digest: String,
    /// `nats-object://<bucket>/<sha256 in hex>`.
    pub reference: String,
}

/// Digest and reference of these bytes in a bucket.
#[must_use]
pub fn of(bucket: &str, bytes: &[u8]) -> Named {
    let digest = hex(&Sha256::digest(bytes));
    let reference = format!("{SCHEME}{bucket}/{digest}");
    Named { digest, reference }
}

/// Whether the bytes have this digest.
#[must_use]
pub fn is_of(digest: &str, bytes: &[u8]) -> bool {
    hex(&Sha256::digest(bytes)).eq_ignore_ascii_case(digest)
}

/// The digest of a reference, which is the name of the object.
///
/// # Errors
/// [`Error::DataRef`] for any other form.
pub fn digest(dataref: &str) -> Result<&str, Error> {
    parse(dataref).map(|(_, digest)| digest)
}

/// Bucket and digest of a reference.
///
/// # Errors
/// As [`digest`].
pub fn parse(dataref: &str) -> Result<(&str, &str), Error> {
    let parts = dataref.strip_prefix(SCHEME).and_then(|rest| rest.split_once('/'));
    parts.filter(|(_, digest)| digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit())).ok_or_else(|| {
        let reason = "must be nats-object://<bucket>/<sha256 in hex>".to_owned();
        Error::DataRef { dataref: dataref.to_owned(), reason }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_references_have_a_digest() {
        let named = of("istio_blob", b"");
        // SHA-256 of no bytes (FIPS 180-4).
        let sha = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!((named.digest.as_str(), digest(&named.reference)), (sha, Ok(sha)));
        let no_hex = format!("{SCHEME}b/{}", "g".repeat(64));
        for bad in ["", sha, "nats-object://b/short", "https://b/0", &no_hex] {
            assert!(digest(bad).is_err(), "{bad}");
        }
    }
}
