//! Limits the memory of parsing in proportion to the input, with one budget for all of its documents. Pure.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::super::Value;
use super::MAX_BYTES;

/// Bytes that anchors and aliases may copy, for each byte of the input.
const COPIES_PER_BYTE: usize = 16;
/// Bytes that aliases may copy beyond that, so that short files can use them freely.
const COPIES_SPARE: usize = 1 << 20;
/// Maximum number of bytes they may copy, whatever the length of the input.
const MAX_COPIES: usize = 64 << 20;
/// Maximum number of documents that cannot be read; later documents are skipped.
const MAX_ERRORS: usize = 1_000;

/// Limits that the caller of a reading sets.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits<'a> {
    /// Longest text, bytes; 256 MiB when `None`.
    pub text_bytes: Option<usize>,
    /// Ends the reading before its next document once it is `true`.
    pub cancelled: Option<&'a AtomicBool>,
}

impl Limits<'_> {
    /// Longest text, bytes.
    pub(super) fn most_text(&self) -> usize {
        self.text_bytes.unwrap_or(MAX_BYTES).min(MAX_BYTES)
    }

    /// Whether the caller does not want the rest.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.is_some_and(|flag| flag.load(Ordering::Relaxed))
    }
}

/// Remaining budget for the documents of one input, shared by its threads.
#[derive(Debug)]
pub struct Budget {
    copies: usize,
    copied: AtomicUsize,
    errors: AtomicUsize,
}

impl Budget {
    /// For an input of this many bytes.
    pub fn new(length: usize) -> Self {
        let copies = length.saturating_mul(COPIES_PER_BYTE).saturating_add(COPIES_SPARE).min(MAX_COPIES);
        Self { copies, copied: AtomicUsize::new(0), errors: AtomicUsize::new(0) }
    }

    /// Charges for a copy of a node before it is made. False if the budget does not allow it.
    pub fn charge(&self, node: &Value) -> bool {
        let left = self.copies.saturating_sub(self.copied.load(Ordering::Relaxed));
        let Some(bytes) = bytes(node, left) else { return false };
        self.copied.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.copies
    }

    /// Counts a document that cannot be read. False from the first that is too many.
    pub fn count_error(&self) -> bool {
        self.errors.fetch_add(1, Ordering::Relaxed) < MAX_ERRORS
    }

    /// Whether too many documents could not be read.
    pub fn is_hopeless(&self) -> bool {
        self.errors.load(Ordering::Relaxed) > MAX_ERRORS
    }
}

/// The memory a node takes, bytes; `None` if it is more than `most`. Looks no further than that.
fn bytes(node: &Value, most: usize) -> Option<usize> {
    let own = size_of::<Value>();
    let sum = match node {
        Value::Str(text) => own + text.len(),
        Value::List(items) => {
            items.iter().try_fold(own, |sum, item| Some(sum + bytes(item, most.checked_sub(sum)?)?))?
        }
        Value::Map(entries) => entries.iter().try_fold(own, |sum, (key, value)| {
            let sum = sum + size_of::<compact_str::CompactString>() + key.len();
            Some(sum + bytes(value, most.checked_sub(sum)?)?)
        })?,
        _ => own,
    };
    (sum <= most).then_some(sum)
}
