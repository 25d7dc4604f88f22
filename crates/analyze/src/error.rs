//! Errors of the analyzer's command line, and its exit codes.

use std::io;
use std::process::ExitCode;

use sailhand_analysis::source;
use sailhand_base::error::{Class, Classify, Code};

/// Exit codes; the same numbers as those of `sailhand`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything was read, and no finding reaches `--fail-on`.
    Success = 0,
    /// A finding reaches `--fail-on`.
    Failed = 1,
    /// An argument is invalid.
    Usage = 2,
    /// A part of the input was not read, or a local file or stream failed.
    Trouble = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that ends the analysis.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An argument that clap cannot validate.
    #[error("{argument}: {reason}")]
    Argument {
        /// As written on the command line.
        argument: String,
        /// Cause of the error, as in the message.
        reason: String,
    },
    /// A local file or stream.
    #[error("cannot {operation}")]
    Local {
        /// The operation, such as `read a.yaml`.
        operation: String,
        /// Error of the system.
        #[source]
        source: io::Error,
    },
    /// A file given by an option, such as `--mesh-config`.
    #[error(transparent)]
    Source(#[from] source::Error),
}

impl Error {
    /// [`Error::Local`].
    pub fn local(operation: impl Into<String>, source: io::Error) -> Self {
        Self::Local { operation: operation.into(), source }
    }

    /// [`Error::Argument`].
    pub fn argument(argument: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Argument { argument: argument.into(), reason: reason.into() }
    }

    /// Whether the reader of standard output has closed it, as `head` does. Such an error is ignored.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Local { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Exit code of the process.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Argument { .. } => Exit::Usage,
            Self::Local { .. } | Self::Source(_) => Exit::Trouble,
        }
    }
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Source(error) => error.class(),
            Self::Argument { .. } | Self::Local { .. } => Class::Terminal,
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Argument { .. } => Code::SH5002,
            Self::Local { .. } => Code::SH5004,
            Self::Source(error) => error.code(),
        }
    }

    fn remedy(&self) -> String {
        match self {
            Self::Source(error) => error.remedy(),
            Self::Argument { .. } => "See `sailhand-analyze --help`.".to_owned(),
            Self::Local { .. } => self.code().remedy().to_owned(),
        }
    }
}
