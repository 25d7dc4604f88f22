//! Verb and parameters of a command, independent of its sender. Two commands with the same source and id but different
//! fingerprints are an error of their sender, or an attempt to forge the result of another command.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::dataref;
use crate::hex::hex;

/// Verb and parameters of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Such as `config.apply`.
    pub verb: String,
    /// SHA-256 of the parameters, 64 lower-case hex digits; see `params_digest`.
    pub digest: String,
}

/// SHA-256 of `data` as JSON without white space and with sorted names. For parameters by reference: the digest in `dataref`,
/// which is the same if the stored object has that form.
#[must_use]
pub fn params_digest(data: &Value, dataref: Option<&str>) -> String {
    let Some(dataref) = dataref else { return hex(&Sha256::digest(data.to_string())) };
    match dataref::digest(dataref) {
        Ok(digest) => digest.to_ascii_lowercase(),
        Err(_) => hex(&Sha256::digest(dataref)), // the command is rejected later, and must not equal another one until then
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn digest_depends_on_values_and_not_on_the_order_of_names() {
        let read = |text: &str| params_digest(&serde_json::from_str(text).unwrap(), None);
        assert_eq!(read(r#"{"a": 1, "b": [2]}"#), read(r#"{"b":[2],"a":1}"#));
        assert_ne!(read(r#"{"a": 1}"#), read(r#"{"a": 2}"#));
        assert_ne!(read(r#"{"a": [1, 2]}"#), read(r#"{"a": [2, 1]}"#));
    }

    #[test]
    fn reference_has_the_digest_of_its_object() {
        let data = json!({"a": 1});
        let named = dataref::of("istio_blob", data.to_string().as_bytes());
        assert_eq!(params_digest(&json!({}), Some(&named.reference)), params_digest(&data, None));
        assert_ne!(params_digest(&json!({}), Some("nonsense")), params_digest(&json!({}), None));
    }
}
