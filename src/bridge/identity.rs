//! Identity of an operation in the CloudEvents attributes of its commands, so that results lead back to it without
//! stored state. Pure.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::error::Error;
use crate::event::Target;

/// Longest operation id, in bytes; Meshery sends UUIDs.
const MAX_ID: usize = 128;
/// Characters of a user name in the source.
const MAX_USER: usize = 64;

/// One command of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Id of the request, or one that the bridge made for it.
    pub operation_id: String,
    /// The cluster.
    pub target: Target,
    /// Key of the operation.
    pub key: String,
    /// The reverse of the operation.
    pub delete: bool,
    /// Namespace of the request.
    pub namespace: String,
    /// Number of targets of the operation, from 1.
    pub targets: usize,
}

impl Reference {
    /// The CloudEvents id: `<operation id>.<target>.<key>.<apply or delete>.<namespace>.<number of targets>`. The same
    /// request has the same id.
    #[must_use]
    pub fn id(&self) -> String {
        let Self { operation_id, target, key, delete, namespace, targets } = self;
        let direction = if *delete { "delete" } else { "apply" };
        format!("{operation_id}.{target}.{key}.{direction}.{namespace}.{targets}")
    }

    /// Reads [`Reference::id`].
    #[must_use]
    pub fn parse(id: &str) -> Option<Self> {
        let mut parts = id.rsplitn(6, '.');
        let targets = parts.next()?.parse().ok()?;
        let namespace = parts.next()?.to_owned();
        let delete = match parts.next()? {
            "apply" => false,
            "delete" => true,
            _ => return None,
        };
        let key = parts.next()?.to_owned();
        let target = parts.next()?.parse().ok()?;
        Some(Self { operation_id: parts.next()?.to_owned(), target, key, delete, namespace, targets })
    }
}

/// The operation id of a request; a new one when it is empty.
///
/// # Errors
/// [`Error::Argument`] for characters other than letters, digits, `.`, `_` and `-`, or more than 128.
pub fn operation_id(text: &str) -> Result<String, Error> {
    if text.is_empty() {
        return Ok(uuid::Uuid::new_v4().to_string());
    }
    let fits = text.len() <= MAX_ID
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    let reason = || "must have at most 128 letters, digits, dots, _ and -".to_owned();
    if fits { Ok(text.to_owned()) } else { Err(Error::Argument { field: "operation_id", reason: reason() }) }
}

/// Beginning of the `source` of every command of the bridge with this name.
#[must_use]
pub fn source_prefix(bridge: &str) -> String {
    format!("urn:sailhand:meshery:{bridge}/")
}

/// The `source` of a user's commands. The name is percent-encoded and cut to 64 characters. Before it is the name of the
/// client, if a certificate proves it: the name of the user is only what the request claims.
#[must_use]
pub fn source(bridge: &str, client: Option<&str>, user: &str) -> String {
    let user: String = user.chars().take(MAX_USER).collect();
    let client = client.map(|client| format!("{client}/")).unwrap_or_default();
    format!("{}{client}{}", source_prefix(bridge), utf8_percent_encode(&user, NON_ALPHANUMERIC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_id_leads_back_to_the_operation() {
        for operation_id in ["3f1c8a52-5a0e-4a5e-9f5f-000000000000", "a.b.apply.c"] {
            let reference = Reference {
                operation_id: operation_id.to_owned(),
                target: "dev".parse().unwrap(),
                key: "smi_conformance".to_owned(),
                delete: true,
                namespace: "shop".to_owned(),
                targets: 2,
            };
            assert_eq!(Reference::parse(&reference.id()), Some(reference));
        }
        for id in ["", "x", "a.b.c.d.e.1", "a.B.c.apply.e.1", "a.b.c.apply.e.x"] {
            assert_eq!(Reference::parse(id), None, "{id}");
        }
    }

    #[test]
    fn user_names_cannot_leave_their_place_in_the_source() {
        assert_eq!(source("m", None, "a/b\n#ü"), "urn:sailhand:meshery:m/a%2Fb%0A%23%C3%BC");
        assert_eq!(source("m", Some("ci"), "a/b"), "urn:sailhand:meshery:m/ci/a%2Fb");
        assert!(operation_id("a b").is_err() && operation_id(&"x".repeat(129)).is_err());
        assert_eq!(operation_id("").unwrap().len(), 36);
    }
}
