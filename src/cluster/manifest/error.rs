//! Errors of manifests. All are terminal, because the same text cannot become valid.

use super::Place;
use crate::error::{Class, Classify, Code};

/// Why a manifest is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Neither YAML nor JSON.
    #[error("manifest, {place}: {reason}")]
    Unreadable {
        /// Where the reader stopped.
        place: Place,
        /// Message of the parser.
        reason: String,
    },
    /// Larger than this worker reads.
    #[error("the manifest has more than {most} {}", limit.unit())]
    TooLarge {
        /// The limit that was exceeded.
        limit: Limit,
        /// How much is read.
        most: usize,
    },
    /// Readable, and not an object the API server could take.
    #[error("manifest, {place}: {reason}")]
    NotAnObject {
        /// Where the document starts.
        place: Place,
        /// Cause of the error, as in the message.
        reason: String,
    },
    /// Two documents describe the same object; which one should win is a guess.
    #[error("manifest: {object} is there twice: {first} and {second}")]
    Duplicate {
        /// Kind, namespace and name.
        object: String,
        /// Where it is first.
        first: Place,
        /// Where it is again.
        second: Place,
    },
}

/// A limit of the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Length of the text.
    Bytes,
    /// Documents.
    Documents,
    /// Objects after lists are unfolded.
    Objects,
    /// Mappings and sequences within each other.
    Depth,
    /// Values of all documents, aliases unfolded.
    Values,
    /// Length of all strings, aliases unfolded.
    StringBytes,
}

impl Limit {
    const fn unit(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Documents => "documents",
            Self::Objects => "objects",
            Self::Depth => "levels of nesting",
            Self::Values => "values with its aliases unfolded",
            Self::StringBytes => "bytes of strings with its aliases unfolded",
        }
    }
}

impl Classify for Error {
    fn class(&self) -> Class {
        Class::Rejected
    }

    fn code(&self) -> Code {
        match self {
            Self::Unreadable { .. } => Code::SH3101,
            Self::TooLarge { .. } => Code::SH3102,
            Self::NotAnObject { .. } => Code::SH3103,
            Self::Duplicate { .. } => Code::SH3104,
        }
    }
}
