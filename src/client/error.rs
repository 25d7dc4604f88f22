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
    /// The command itself.
    #[error(transparent)]
    Event(#[from] event::Error),
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Bus(error) => error.class(),
            Self::Event(error) => error.class(),
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Bus(error) => error.code(),
            Self::Event(error) => error.code(),
        }
    }

    fn remedy(&self) -> String {
        match self {
            Self::Bus(error) => error.remedy(),
            Self::Event(error) => error.remedy(),
        }
    }
}
