//! Builds the path of a field while a validator descends into an object. The path is formatted only for a finding.

use std::fmt::{self, Write};

/// A key or index below its parent, or the root of an object.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    above: Option<&'a Field<'a>>,
    step: Step<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> Field<'a> {
    /// A top-level field of the object, such as `spec`.
    #[must_use]
    pub const fn root(key: &'a str) -> Self {
        Self { above: None, step: Step::Key(key) }
    }

    /// The field `key` below this one.
    #[must_use]
    pub const fn key(&'a self, key: &'a str) -> Self {
        Self { above: Some(self), step: Step::Key(key) }
    }

    /// Item `index` of this list, from 0.
    #[must_use]
    pub const fn index(&'a self, index: usize) -> Self {
        Self { above: Some(self), step: Step::Index(index) }
    }
}

/// `spec.http[0].match[1].headers["x.y"]`.
impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(above) = self.above {
            above.fmt(f)?;
        }
        match self.step {
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(key) if is_plain(key) => {
                if self.above.is_some() {
                    f.write_char('.')?;
                }
                f.write_str(key)
            }
            Step::Key(key) => write!(f, "[{key:?}]"),
        }
    }
}

fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'$'))
}

#[cfg(test)]
mod tests {
    use super::Field;

    #[test]
    fn keys_with_dots_are_quoted() {
        let spec = Field::root("spec");
        let list = spec.key("http");
        let item = list.index(2);
        assert_eq!(item.key("name").to_string(), "spec.http[2].name");
        assert_eq!(item.key("a.b/c").to_string(), "spec.http[2][\"a.b/c\"]");
    }
}
