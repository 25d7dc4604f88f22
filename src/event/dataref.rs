//! Parameters that do not fit into a message: `dataref` names an object of the bus's store by its SHA-256.

use super::Error;

/// Largest object that a `dataref` may name.
pub const MAX_BYTES: usize = 16 * 1024 * 1024;

const SCHEME: &str = "nats-object://";

/// `nats-object://<bucket>/<sha256 in hex>`.
#[must_use]
pub fn reference(bucket: &str, digest: &str) -> String {
    format!("{SCHEME}{bucket}/{digest}")
}

/// The digest, which is the object's name.
///
/// # Errors
/// [`Error::DataRef`] for any other form.
pub fn digest(dataref: &str) -> Result<&str, Error> {
    let digest = dataref.strip_prefix(SCHEME).and_then(|rest| rest.split_once('/')).map(|(_, digest)| digest);
    digest.filter(|digest| digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit())).ok_or_else(|| {
        let reason = "must be nats-object://<bucket>/<sha256 in hex>".to_owned();
        Error::DataRef { dataref: dataref.to_owned(), reason }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_gives_its_digest_back_and_nothing_else_does() {
        let sha = "0123456789abcdef".repeat(4);
        assert_eq!(digest(&reference("istio_blob", &sha)), Ok(sha.as_str()));
        for bad in ["", &sha, "nats-object://b/short", "https://b/0", &reference("b", &"g".repeat(64))] {
            assert!(digest(bad).is_err(), "{bad}");
        }
    }
}
