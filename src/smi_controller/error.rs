//! Errors that prevent the start of the controller.

use std::net::SocketAddr;

use crate::cluster;
use crate::error::{Class, Classify, Code};
use crate::smi::SettingsError;

/// Why the controller does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig cannot be used.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// A setting cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The health port is taken.
    #[error("cannot listen on {address}")]
    Listen {
        /// Address in the configuration.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Cluster(error) => error.class(),
            Self::Settings(_) | Self::Listen { .. } => Class::Terminal,
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Cluster(error) => error.code(),
            Self::Settings(_) => Code::SH5002,
            Self::Listen { .. } => Code::SH5004,
        }
    }

    fn remedy(&self) -> String {
        match self {
            Self::Cluster(error) => error.remedy(),
            Self::Settings(_) | Self::Listen { .. } => self.code().remedy().to_owned(),
        }
    }
}
