//! Why a client did not get what it asked for.

use crate::bus;
use crate::error::{Class, Classify, Code};
use crate::event;

/// A failure of the client's side.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bus.
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// Several keys begin alike.
    #[error("{prefix} is the beginning of several keys: {}", .keys.join(", "))]
    Ambiguous {
        /// The digits that were given.
        prefix: String,
        /// The first of the keys.
        keys: Vec<String>,
    },
    /// The command itself.
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
