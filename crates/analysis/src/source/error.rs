//! Errors of documents and files that could not be read.

use std::fmt;
use std::io;

use sailhand_base::error::{Class, Classify, Code};

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Path as given by the user.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A document or file that could not be read. The others were.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither valid YAML nor JSON.
    #[error("{place}: {reason}")]
    Unreadable {
        /// Position of the error.
        place: Place,
        /// Error of the parser.
        reason: String,
        /// Whether the text looks like a Helm template.
        template: bool,
    },
    /// A limit was exceeded.
    #[error("{place}: {what}")]
    Limit {
        /// Position of the document.
        place: Place,
        /// The limit that was exceeded.
        what: String,
    },
    /// A file could not be read.
    #[error("cannot read {path}")]
    File {
        /// Path of the file.
        path: String,
        /// Error of the system.
        #[source]
        source: io::Error,
    },
}

impl Classify for Error {
    fn class(&self) -> Class {
        Class::Rejected
    }

    fn code(&self) -> Code {
        match self {
            Self::Unreadable { .. } => Code::SH6001,
            Self::Limit { .. } => Code::SH6002,
            Self::File { .. } => Code::SH6003,
        }
    }

    fn remedy(&self) -> String {
        match self {
            Self::Unreadable { template: true, .. } => {
                "This looks like a Helm template: analyze the output of `helm template` instead.".to_owned()
            }
            Self::File { source, .. } if source.kind() == io::ErrorKind::InvalidData => {
                "Save the file as UTF-8, or exclude it if it is not text. The other files were analyzed.".to_owned()
            }
            _ => self.code().remedy().to_owned(),
        }
    }
}
