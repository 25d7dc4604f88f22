//! What a rule can ask a snapshot, as a number: by it is known whose answer a change may have altered.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::Kind;
use super::index::Key;

/// One question. Those that begin with `Has` are answered by yes or no, and only that answer counts: an object that
/// changes where there was one before alters nothing.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) enum Question<'a> {
    /// All objects of a kind.
    All(Kind),
    /// Those of a namespace.
    In(Kind, &'a str),
    /// Those of a name.
    Named(Kind, &'a str, &'a str),
    /// Those with a key of an index.
    Keyed(Key),
    /// Whether there is any of a kind.
    Has(Kind),
    /// Whether there is any in a namespace.
    HasIn(Kind, &'a str),
    /// Whether there is any of a name.
    HasNamed(Kind, &'a str, &'a str),
    /// Whether there is any with a key of an index.
    HasKeyed(Key),
    /// The mesh's settings, any of them.
    Mesh,
    /// Of the mesh's settings only which namespace holds policies for all.
    RootNamespace,
    /// What time it is.
    Now,
}

/// The number of a question. 64 bits: where two share one, something is judged once more than it has to be.
pub(super) type Asked = u64;

impl Question<'_> {
    pub(super) fn number(self) -> Asked {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// The questions that one call of a rule has asked.
#[derive(Debug, Default)]
pub(super) struct Record(RefCell<Vec<Asked>>);

impl Record {
    pub(super) fn note(&self, question: Question<'_>) {
        let number = question.number();
        let mut asked = self.0.borrow_mut();
        // Loops ask the same again and again.
        if asked.last() != Some(&number) {
            asked.push(number);
        }
    }

    /// Each once, sorted.
    pub(super) fn into_sorted(self) -> Vec<Asked> {
        let mut asked = self.0.into_inner();
        asked.sort_unstable();
        asked.dedup();
        asked
    }
}
