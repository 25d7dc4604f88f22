//! From text to objects: YAML and JSON, many documents, `List`s, within limits. One unreadable document does not stop
//! the others. `files` is the only one here that touches the file system.

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

use super::{Finding, Origin};

/// Longest file, bytes.
pub const MAX_BYTES: usize = 256 << 20;
/// Deepest nesting. CRDs with large schemas stay below 40.
pub const MAX_DEPTH: usize = 100;
/// Most values of one document, aliases counted as often as they are used.
pub const MAX_VALUES: usize = 1_000_000;

/// Texts that objects were read from.
#[derive(Debug, Default)]
pub struct Sources {
    files: Vec<Source>,
    passed_over: Vec<PassedOver>,
}

/// One file.
#[derive(Debug)]
pub struct Source {
    /// As a person named it.
    pub name: String,
    /// All of it.
    pub text: String,
}

impl Sources {
    /// Adds a text; its number goes into [`Origin::file`].
    pub fn add(&mut self, name: impl Into<String>, text: String) -> u32 {
        self.files.push(Source { name: name.into(), text });
        u32::try_from(self.files.len() - 1).unwrap_or(u32::MAX)
    }

    /// What folders hold that is made into objects by another tool.
    #[must_use]
    pub fn passed_over(&self) -> &[PassedOver] {
        &self.passed_over
    }

    /// The file of this number.
    #[must_use]
    pub fn get(&self, file: u32) -> Option<&Source> {
        self.files.get(usize::try_from(file).ok()?)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The name of a finding's file, and the place of its field there, or of the nearest field around it.
    #[must_use]
    pub fn position(&self, finding: &Finding) -> Option<(&Source, Position)> {
        let origin = finding.origin?;
        let source = self.get(origin.file)?;
        Some((source, position::locate(document(source, origin)?, origin, &finding.field)))
    }
}

fn document(source: &Source, origin: Origin) -> Option<&str> {
    source.text.get(usize::try_from(origin.start).ok()?..usize::try_from(origin.end).ok()?)
}
