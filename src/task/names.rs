//! Names that several tasks take or make: namespaces and installations.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::hex::hex;

/// Longest name of an installation: with prefix and suffix it is still a Kubernetes label value.
const INSTALLATION: usize = 50;
/// Hex digits that stand for what was cut off.
const HASH: usize = 8;

/// Name of a Kubernetes namespace: a DNS label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Namespace(String);

impl Namespace {
    /// A name that this crate itself gives; its tests see that it is one.
    pub(super) fn known(name: &'static str) -> Self {
        Self(name.to_owned())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Namespace {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let fits = (1..=63).contains(&name.len()) && name.bytes().all(inner);
        if !fits || name.starts_with('-') || name.ends_with('-') {
            return Err(format!(
                "{name:?} is not the name of a namespace: want at most 63 of a-z, 0-9 and inner dashes"
            ));
        }
        Ok(Self(name))
    }
}

impl From<Namespace> for String {
    fn from(name: Namespace) -> Self {
        name.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for Namespace {
    fn schema_name() -> Cow<'static, str> {
        "Namespace".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Name of a Kubernetes namespace.",
            "type": "string",
            "minLength": 1,
            "maxLength": 63,
            "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        })
    }
}

/// The installation `<prefix>-<namespace>`.
#[must_use]
pub fn installation(prefix: &str, namespace: &Namespace) -> String {
    fitting(format!("{prefix}-{namespace}"))
}

/// An installation's name. One that is too long is cut and ends in a hash of the whole, so two never become one.
#[must_use]
pub fn fitting(whole: String) -> String {
    if whole.len() <= INSTALLATION { whole } else { cut(&whole, &whole) }
}

/// The installation of something named in a namespace, such as a service. It always ends in a hash: dashes alone would
/// not keep `a-b` in `c` apart from `a` in `b-c`.
#[must_use]
pub fn installation_of(prefix: &str, namespace: &Namespace, name: &str) -> String {
    cut(&format!("{prefix}-{name}-{namespace}"), &format!("{prefix}/{namespace}/{name}"))
}

/// As much of `readable` as there is room for, and a hash of `whole`.
fn cut(readable: &str, whole: &str) -> String {
    let kept = readable[..readable.len().min(INSTALLATION - HASH - 1)].trim_end_matches('-');
    format!("{kept}-{}", hex(&Sha256::digest(whole.as_bytes())[..HASH / 2]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(name: &str) -> Namespace {
        Namespace::try_from(name.to_owned()).unwrap()
    }

    #[test]
    fn namespaces_are_dns_labels() {
        assert_eq!(namespace("shop-1").as_str(), "shop-1");
        for name in ["", "-a", "a-", "A", "a.b", "a_b", "ä", &"a".repeat(64)] {
            assert!(serde_json::from_value::<Namespace>(name.into()).is_err(), "{name}");
        }
    }

    #[test]
    fn installations_fit_and_stay_apart() {
        assert_eq!(installation("sample-bookinfo", &namespace("shop")), "sample-bookinfo-shop");
        let (one, two) = (format!("{}1", "a".repeat(62)), format!("{}2", "a".repeat(62)));
        let names = [one, two].map(|name| installation("sample-online-boutique", &namespace(&name)));
        assert_ne!(names[0], names[1]);
        for name in names {
            assert!(name.len() <= INSTALLATION && Namespace::try_from(name.clone()).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_dash_does_not_make_two_names_one() {
        let [one, two] =
            [("c", "a-b"), ("b-c", "a")].map(|(space, name)| installation_of("x", &namespace(space), name));
        assert_ne!(one, two);
        assert!(one.starts_with("x-a-b-c-") && Namespace::try_from(one).is_ok());
    }
}
