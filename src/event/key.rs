//! Names that become subject tokens: the key of a command and the id of a target.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::hex::hex;

/// Identifies a command on every subject and in every bucket: the first 32 hex digits of
/// SHA-256(source, newline, id). CloudEvents says that source + id together identify an event, so the same id from
/// another source is another command.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandKey(String);

impl CommandKey {
    /// The key of the event with this `source` and `id`.
    #[must_use]
    pub fn new(source: &str, id: &str) -> Self {
        let digest = Sha256::new().chain_update(source).chain_update("\n").chain_update(id).finalize();
        Self(hex(&digest[..16]))
    }

    /// The token in subjects.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CommandKey {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if hex { Ok(Self(text.to_owned())) } else { Err(()) }
    }
}

impl fmt::Display for CommandKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Id of a target, a cluster in the configuration of a worker: a DNS label (RFC 1123), so that it is one subject token.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target(String);

impl Target {
    /// The token in subjects.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Target {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let fits =
            (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-');
        if fits { Ok(Self(text.to_owned())) } else { Err(()) }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Identifies a command on all targets. The same event on two targets is two commands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandId {
    /// The cluster that the command is for.
    pub target: Target,
    /// Digest of its source and id.
    pub key: CommandKey,
}

impl CommandId {
    /// The command with this key on `target`.
    #[must_use]
    pub fn new(target: &Target, key: &CommandKey) -> Self {
        Self { target: target.clone(), key: key.clone() }
    }
}

/// As the last two tokens of a subject: `<target>.<key>`.
impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.target, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_depends_on_source_and_id() {
        let key = CommandKey::new("/ci", "1");
        assert_eq!(key.as_str().len(), 32);
        assert_eq!(key, CommandKey::new("/ci", "1"));
        assert_ne!(key, CommandKey::new("/ci", "2"));
        assert_ne!(key, CommandKey::new("/other", "1"));
        assert_eq!(key.as_str().parse(), Ok(key));
    }

    #[test]
    fn target_is_one_subject_token() {
        for good in ["dev", "a", "3f2504e0-4f89-11d3-9a0c-0305e82c3301"] {
            assert!(good.parse::<Target>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a*", "a>", "ä", &"x".repeat(64)] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
