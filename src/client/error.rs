//! Errors of clients.

use crate::bus;
use crate::error::{Class, Classify, Code};
use crate::event;

/// Why a request of a client failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request to the bus failed.
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// Several keys have the same prefix.
    #[error("{prefix} is the prefix of several keys: {}", .keys.join(", "))]
    Ambiguous {
        /// The prefix.
        prefix: String,
        /// Some of the keys.
        keys: Vec<String>,
    },
    /// The command is not valid.
    #[error(transparent)]
    Event(#[from] event::Error),
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Bus(error) => error.class(),
            Self::Event(error) => error.class(),
            Self::Ambiguous { .. } => Class::Terminal,
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Bus(error) => error.code(),
            Self::Event(error) => error.code(),
            Self::Ambiguous { .. } => Code::SH5012,
        }
    }

    fn remedy(&self) -> String {
        match self {
            Self::Bus(error) => error.remedy(),
            Self::Event(error) => error.remedy(),
            Self::Ambiguous { .. } => self.code().remedy().to_owned(),
        }
    }
}
