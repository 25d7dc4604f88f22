//! Reads manifests: YAML or JSON, many documents, `List`s. Pure; knows nothing of the cluster they are meant for.
//!
//! Scalars mean what they mean to `kubectl` (sigs.k8s.io/yaml): `yes`, `on` and `n` are booleans, `0644` is octal,
//! `1_000` is a number. Where kubectl guesses or loses something, this refuses: a key that is there twice, an
//! integer of more than 64 bits, a field that `metadata` does not have.

mod document;
mod error;
mod object;
mod value;

use std::collections::BTreeMap;

use kube::core::DynamicObject;

pub use error::{Error, Limit};

/// Longest manifest, bytes. The commands themselves are far shorter; a referenced object may be this long.
pub const MAX_BYTES: usize = 8 << 20;
/// Maximum number of documents, and of objects after lists are expanded.
pub const MAX_OBJECTS: usize = 10_000;
/// Deepest nesting. CRDs with large schemas stay below 40.
pub const MAX_DEPTH: usize = 64;
/// Maximum number of values of all documents together, aliases counted as often as they are used; these may add 100,000 to what is
/// written out.
pub const MAX_VALUES: usize = 1_000_000;

/// Reads all objects of a manifest, in order. Documents without content are skipped; `kind: List`, and any other
/// `…List` with `items` and without a name, is replaced by its items. What only a server writes to `metadata`
/// (`uid`, `resourceVersion`, `managedFields` and the like) is dropped, so that the output of `kubectl get -o yaml`
/// can be applied.
///
/// # Errors
/// The document's number and line with what is wrong with it, or the limit exceeded.
pub fn read(text: &str) -> Result<Vec<DynamicObject>, Error> {
    if text.len() > MAX_BYTES {
        return Err(Error::TooLarge { limit: Limit::Bytes, most: MAX_BYTES });
    }
    let budget = value::Budget::new(text.len());
    let mut objects = Vec::new();
    for document in document::split(text)? {
        for located in document::parse(&document, &budget)? {
            object::unfold(located.value, located.place, &mut objects)?;
        }
    }
    let mut seen = BTreeMap::new();
    for (object, place) in &objects {
        if let Some(first) = seen.insert(object::identity(object), *place) {
            return Err(Error::Duplicate { object: object::describe(object), first, second: *place });
        }
    }
    Ok(objects.into_iter().map(|(object, _)| object).collect())
}

/// A position in a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// From 1, documents without content not counted.
    pub document: usize,
    /// From 1, in the whole manifest.
    pub line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "document {}, line {}", self.document, self.line)
    }
}

#[cfg(test)]
mod tests;
