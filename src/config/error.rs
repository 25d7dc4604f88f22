//! Errors of the configuration: the key, its source, and what is wrong with it.

use std::path::PathBuf;

use crate::error::{Class, Classify, Code};

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A named file does not exist or cannot be read.
    #[error("cannot read the configuration file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// One key.
    #[error("{key} ({origin}): {reason}")]
    Key {
        /// Its path, such as `worker.slots`; for a file that is not TOML, `configuration`.
        key: String,
        /// The file, variable or flag that set it.
        origin: String,
        /// The reason, and what is expected.
        reason: String,
    },
}

impl Classify for Error {
    fn class(&self) -> Class {
        Class::Terminal
    }

    fn code(&self) -> Code {
        Code::SH5001
    }
}
