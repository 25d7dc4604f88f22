//! Parses text into objects: YAML and JSON, multiple documents, `List`s, within limits. An invalid document does not
//! affect the others. Only `files` accesses the file system.

mod block;
mod error;
pub mod files;
mod folder;
mod position;
mod read;
mod scalar;
mod split;
mod yaml;

pub use error::{Error, Place};
pub use folder::PassedOver;
pub use position::Position;
pub use read::{Reading, read, read_value};

use super::{Finding, SourceSpan};

/// Largest file, bytes.
pub const MAX_BYTES: usize = 256 << 20;
/// Deepest nesting, levels. CRDs with large schemas stay below 40.
pub const MAX_DEPTH: usize = 100;
/// Most values in a document; aliases count as often as they are used.
pub const MAX_VALUES: usize = 1_000_000;

/// Texts from which objects were parsed.
#[derive(Debug, Default)]
pub struct Sources {
    files: Vec<Source>,
    passed_over: Vec<PassedOver>,
}

/// One file.
#[derive(Debug)]
pub struct Source {
    /// Path as given by the user.
    pub name: String,
    /// Complete text.
    pub text: String,
}

impl Sources {
    /// Adds a text; its index is stored in [`SourceSpan::file`].
    pub fn add(&mut self, name: impl Into<String>, text: String) -> u32 {
        self.files.push(Source { name: name.into(), text });
        u32::try_from(self.files.len() - 1).unwrap_or(u32::MAX)
    }

    /// Adds files that were skipped because another tool renders them.
    #[must_use]
    pub fn passed_over(&self) -> &[PassedOver] {
        &self.passed_over
    }

    /// The file with this index.
    #[must_use]
    pub fn get(&self, file: u32) -> Option<&Source> {
        self.files.get(usize::try_from(file).ok()?)
    }

    /// Number of files.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there are no files.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// File of a finding, and the position of its field or of the nearest enclosing one.
    #[must_use]
    pub fn position(&self, finding: &Finding) -> Option<(&Source, Position)> {
        let origin = finding.origin?;
        let source = self.get(origin.file)?;
        Some((source, position::locate(document(source, origin)?, origin, &finding.field)))
    }
}

fn document(source: &Source, origin: SourceSpan) -> Option<&str> {
    source.text.get(usize::try_from(origin.start).ok()?..usize::try_from(origin.end).ok()?)
}
