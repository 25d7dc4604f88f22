//! Label selectors of key-value pairs, all of which must match.

use std::fmt;

use super::Value;

/// Pairs sorted by key. A selector without pairs matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector<'a> {
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Selector<'a> {
    /// From a mapping such as `spec.selector` of a Service or `spec.selector.matchLabels` of a Sidecar.
    #[must_use]
    pub fn new(labels: &'a Value) -> Self {
        Self::from_pairs(labels.entries().iter().map(|(key, value)| (key.as_str(), value.text())))
    }

    /// From pairs; the last of several with the same key wins.
    #[must_use]
    pub fn from_pairs(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut sorted: Vec<(&str, &str)> = Vec::new();
        for (key, value) in pairs {
            match sorted.binary_search_by_key(&key, |(known, _)| known) {
                Ok(at) => sorted[at] = (key, value),
                Err(at) => sorted.insert(at, (key, value)),
            }
        }
        Self { pairs: sorted }
    }

    /// Adds the pairs of another selector, which take precedence.
    #[must_use]
    pub fn and(&self, other: &Selector<'a>) -> Self {
        Self::from_pairs(self.pairs.iter().chain(&other.pairs).copied())
    }

    /// The pairs.
    #[must_use]
    pub fn pairs(&self) -> &[(&'a str, &'a str)] {
        &self.pairs
    }

    /// Whether it has no pairs and matches everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Whether labels contain all pairs.
    #[must_use]
    pub fn matches(&self, labels: &Value) -> bool {
        self.pairs.iter().all(|(key, value)| labels[*key].as_str() == Some(value))
    }

    /// Whether `other` matches everything that this selector matches.
    #[must_use]
    pub fn is_within(&self, other: &Selector<'_>) -> bool {
        other.pairs.iter().all(|pair| self.pairs.contains(pair))
    }
}

/// `k=v` pairs, sorted and separated by commas, as in Istio's messages.
impl fmt::Display for Selector<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, value)) in self.pairs.iter().enumerate() {
            write!(f, "{}{key}={value}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}
