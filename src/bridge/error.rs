//! Refusals of the bridge, as SH codes and as gRPC status. Meshery's UI shows the text of the status.

use std::net::SocketAddr;

use tonic::Status;

use super::text::cut;
use crate::client;
use crate::error::{Class, Classify, Code};

/// Why a call is refused, or the bridge does not start. No text quotes a kubeconfig's credentials.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No operation has this key.
    #[error("operation {key:?} does not exist{}", .nearest.map(|near| format!("; did you mean {near}?")).unwrap_or_default())]
    UnknownOperation {
        /// Key of the request, cut to 64 characters.
        key: String,
        /// The most similar key.
        nearest: Option<&'static str>,
    },
    /// An operation of Meshery's former adapter without a verb.
    #[error("operation {key} is not supported: {instead}")]
    Unsupported {
        /// Key of the request.
        key: &'static str,
        /// What to use instead.
        instead: &'static str,
    },
    /// The configuration does not list the operation.
    #[error("operation {entry} is not allowed by bridge.operations")]
    NotAllowed {
        /// The missing entry.
        entry: String,
    },
    /// A client certificate without permissions.
    #[error("the client certificate (names {}) is not one of bridge.clients", if .names.is_empty() { "none" } else { .names })]
    ClientCertificate {
        /// Its subject alternative names.
        names: String,
    },
    /// A client without permission for an operation.
    #[error("client {client} may not execute operation {entry}")]
    ClientOperation {
        /// Key of `bridge.clients`.
        client: String,
        /// The missing entry.
        entry: String,
    },
    /// A client without permission for a target.
    #[error("client {client} may not reach target {target}")]
    ClientTarget {
        /// Key of `bridge.clients`.
        client: String,
        /// The target.
        target: String,
    },
    /// No kubeconfig and no default target.
    #[error("the request has no kubeconfig: select a cluster in Meshery")]
    NoKubeconfig,
    /// A kubeconfig that does not identify exactly one target.
    #[error("kubeconfig {number} (context {context:?}, server {server}, CA {ca}) matches {matches}")]
    NoMatch {
        /// Position in the request, from 1.
        number: usize,
        /// Current context, cut to 128 characters.
        context: String,
        /// Address of the API server.
        server: String,
        /// SHA-256 of the first certificate authority, or `none`.
        ca: String,
        /// `no target`, or the ids of several.
        matches: String,
    },
    /// A kubeconfig that cannot be read. The reason does not quote it.
    #[error("kubeconfig {number} is invalid: {reason}")]
    Kubeconfig {
        /// Position in the request, from 1.
        number: usize,
        /// Cause of the error, as in the message.
        reason: &'static str,
    },
    /// Another invalid field.
    #[error("{field}: {reason}")]
    Argument {
        /// Name in the proto text.
        field: &'static str,
        /// Cause of the error, as in the message.
        reason: String,
    },
    /// The bus did not accept the command.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// The bus did not answer.
    #[error("NATS did not confirm the command within {seconds} s")]
    Timeout {
        /// The limit.
        seconds: u64,
    },
    /// A limit of the configuration is reached.
    #[error("{limit} {what} are open; bridge.{key} is the limit")]
    TooMany {
        /// `calls` or `event streams`.
        what: &'static str,
        /// Key of the configuration.
        key: &'static str,
        /// Its value.
        limit: usize,
    },
    /// A component of a design.
    #[error("{component}: {outcome} on {target}: {cause}")]
    Design {
        /// Kind and name.
        component: String,
        /// The cluster.
        target: String,
        /// Such as `failed`.
        outcome: &'static str,
        /// Code and message of the result.
        cause: String,
    },
    /// The events of a command ended before its result.
    #[error("the result of command {key} cannot be read")]
    Ended {
        /// Key of the command.
        key: String,
    },
    /// The bridge has no targets.
    #[error("bridge.targets is empty: no request could reach a cluster")]
    NoTargets,
    /// A listener.
    #[error("cannot listen on {address}")]
    Listen {
        /// Address of the configuration.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// Certificates, or the HTTP client for Meshery.
    #[error("{0}")]
    Settings(String),
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Client(error) => error.class(),
            Self::Timeout { .. } | Self::Ended { .. } | Self::TooMany { .. } => Class::RETRY,
            Self::Design { .. } | Self::NoTargets | Self::Listen { .. } | Self::Settings(_) => Class::Terminal,
            _ => Class::Rejected,
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::UnknownOperation { .. } | Self::Unsupported { .. } => Code::SH3601,
            Self::NotAllowed { .. } => Code::SH3602,
            Self::NoKubeconfig | Self::NoMatch { .. } => Code::SH3603,
            Self::Kubeconfig { .. } => Code::SH3604,
            Self::Argument { .. } => Code::SH3605,
            Self::Client(error) => error.code(),
            Self::Timeout { .. } | Self::Ended { .. } => Code::SH2002,
            Self::Design { .. } => Code::SH3608,
            Self::TooMany { .. } => Code::SH3606,
            Self::ClientCertificate { .. } | Self::ClientOperation { .. } | Self::ClientTarget { .. } => Code::SH3609,
            Self::NoTargets | Self::Listen { .. } | Self::Settings(_) => Code::SH3607,
        }
    }

    fn remedy(&self) -> String {
        match self {
            Self::Client(error) => error.remedy(),
            _ => self.code().remedy().to_owned(),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        // Some errors quote names of the request.
        let text = cut(&format!("{}: {error}. {}", error.code(), error.remedy()));
        match error {
            Error::UnknownOperation { .. } | Error::Unsupported { .. } => Self::unimplemented(text),
            Error::NotAllowed { .. }
            | Error::ClientCertificate { .. }
            | Error::ClientOperation { .. }
            | Error::ClientTarget { .. } => Self::permission_denied(text),
            Error::NoKubeconfig | Error::NoMatch { .. } => Self::failed_precondition(text),
            Error::Client(client::Error::Event(_)) | Error::Kubeconfig { .. } | Error::Argument { .. } => {
                Self::invalid_argument(text)
            }
            Error::Design { .. } => Self::aborted(text),
            Error::TooMany { .. } => Self::resource_exhausted(text),
            _ => Self::unavailable(text),
        }
    }
}
