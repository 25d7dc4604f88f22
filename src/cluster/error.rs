//! What can go wrong with a cluster, and its class (see docs/errors).

use crate::error::{Class, Classify, Code};
use crate::guard::Stop;

use super::manifest;

/// A failure of the cluster layer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration does not have it.
    #[error("target {target} is not in this worker's configuration")]
    UnknownTarget {
        /// As the command named it.
        target: String,
    },
    /// The manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] manifest::Error),
    /// The guard told the work to stop.
    #[error(transparent)]
    Stopped(#[from] Stop),
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::UnknownTarget { .. } => Class::Terminal,
            Self::Manifest(error) => error.class(),
            Self::Stopped(stop) => stop.class(),
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::UnknownTarget { .. } => Code::SH1008,
            Self::Manifest(error) => error.code(),
            Self::Stopped(stop) => stop.code(),
        }
    }
}
