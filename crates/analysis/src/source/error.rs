//! Why a document or a file was not read.

use std::fmt;
use std::io;

use sailhand_base::error::{Class, Classify, Code};

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// As a person named it.
    pub file: String,
    /// From 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What was not read. The rest was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither YAML nor JSON.
    #[error("{place}: {reason}")]
    Unreadable {
        /// Where.
        place: Place,
        /// What the parser says.
        reason: String,
        /// Whether it has the marks of a Helm template.
        template: bool,
    },
    /// Larger or deeper than what is read.
    #[error("{place}: {what}")]
    Limit {
        /// Where.
        place: Place,
        /// Which limit.
        what: String,
    },
    /// A file that cannot be opened.
    #[error("{path} cannot be read")]
    File {
        /// Which.
        path: String,
        /// The system's error.
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
                "This looks like a Helm template: analyse what `helm template` makes of it.".to_owned()
            }
            Self::File { source, .. } if source.kind() == io::ErrorKind::InvalidData => {
                "Save it as UTF-8, or leave it out if it is no text; the other files were analysed.".to_owned()
            }
            _ => self.code().remedy().to_owned(),
        }
    }
}
