//! Versions of Istio and of Kubernetes, and their order.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A version of Istio such as `1.30.3` or `1.31.0-rc.0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(semver::Version);

impl Version {
    /// The `30` of `1.30.3`.
    #[must_use]
    pub const fn minor(&self) -> u64 {
        self.0.minor
    }

    /// The `3` of `1.30.3`.
    #[must_use]
    pub const fn patch(&self) -> u64 {
        self.0.patch
    }

    /// The version of examples.
    #[must_use]
    pub fn example() -> Self {
        Self(semver::Version::new(1, 30, 3))
    }

    /// As a part of a Kubernetes name: `1-30-3`.
    #[must_use]
    pub fn dashed(&self) -> String {
        self.to_string().replace(['.', '+'], "-")
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || format!("{text:?} is not a version of Istio: want one such as 1.30.3");
        let version = semver::Version::parse(text).map_err(|_| wanted())?;
        let fits = version.major == 1 && version.minor >= 5 && version.build.is_empty() && text.len() <= 40;
        if fits { Ok(Self(version)) } else { Err(wanted()) }
    }
}

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl JsonSchema for Version {
    fn schema_name() -> Cow<'static, str> {
        "IstioVersion".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A version of Istio, such as `1.30.3`.",
            "type": "string",
            "maxLength": 40,
            "pattern": r"^1\.([5-9]|[1-9][0-9]+)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?$",
        })
    }
}

/// The version of a Kubernetes API server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kubernetes {
    /// The `34` of `v1.34.4`.
    pub minor: u64,
    /// As the server says it, such as `v1.34.4+k3s1`.
    pub text: String,
}

impl FromStr for Kubernetes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.trim_start_matches('v').split_once('.').map(|(major, rest)| {
            let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
            (major.to_owned(), minor.parse::<u64>())
        });
        let plain = text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+'));
        match numbers {
            Some((major, Ok(minor))) if major == "1" && plain => Ok(Self { minor, text: text.to_owned() }),
            _ => Err(format!("{text:?} is not a version of Kubernetes")),
        }
    }
}

impl fmt::Display for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn versions_are_ordered_by_release() {
        assert!(version("1.9.9") < version("1.10.0"));
        assert!(version("1.31.0-rc.0") < version("1.31.0"));
        assert_eq!(version("1.31.0-rc.0").dashed(), "1-31-0-rc-0");
        for text in ["1.30", "2.0.0", "1.4.0", "v1.30.3", "1.30.3+x", "latest", ""] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    #[test]
    fn kubernetes_version_formats_are_parsed() {
        for (text, minor) in [("v1.34.4", 34), ("v1.29.3-eks-adc7111", 29), ("v1.31.2+k3s1", 31), ("1.30+", 30)] {
            assert_eq!(text.parse::<Kubernetes>().map(|it| it.minor), Ok(minor), "{text}");
        }
        for text in ["", "v2.1.0", "1", "v1.x", "v1.30 --set a=b"] {
            assert!(text.parse::<Kubernetes>().is_err(), "{text}");
        }
    }
}
