//! Errors of the bus.

use crate::error::{Class, Classify, Code};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A failure of the bus.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection.
    #[error("cannot connect to NATS at {url}")]
    Connect {
        /// Addresses, without credentials.
        url: String,
        /// The client's error.
        #[source]
        source: Source,
    },
    /// Neither the server nor another one of its cluster answers for `JetStream`.
    #[error("JetStream is not enabled on the NATS server at {url}")]
    NoJetStream {
        /// Addresses, without credentials.
        url: String,
    },
    /// A credentials file is missing or malformed.
    #[error("cannot use the NATS credentials in {path}")]
    Credentials {
        /// The file.
        path: String,
        /// Underlying error.
        #[source]
        source: Source,
    },
    /// A publish or request was not answered, or not with success.
    #[error("{operation} on {subject} failed")]
    Request {
        /// The operation.
        operation: &'static str,
        /// Subject of the message.
        subject: String,
        /// The client's or server's error.
        #[source]
        source: Source,
    },
    /// The server answered a publish with an error.
    #[error("NATS refused {operation} on {subject}: {description} ({code})")]
    Refused {
        /// The operation.
        operation: &'static str,
        /// Subject of the message.
        subject: String,
        /// `JetStream`'s error code.
        code: u64,
        /// Its text.
        description: String,
    },
    /// A stream whose limit the workers keep is full.
    #[error("stream {stream} is full: it has {bytes} bytes and its limit is {limit}")]
    Full {
        /// Its name.
        stream: String,
        /// Its size.
        bytes: u64,
        /// Its limit, bytes.
        limit: u64,
    },
    /// A message exceeds `max_payload` of the server or the maximum message size of the stream. A repeat fails the same
    /// way.
    #[error("the message on {subject} exceeds the size limit of NATS: {reason}")]
    TooLarge {
        /// Subject of the message.
        subject: String,
        /// The client's or server's error.
        reason: String,
    },
    /// The server's permissions do not allow it.
    #[error("NATS does not permit {operation} on {subject}: {reason}")]
    Denied {
        /// The operation.
        operation: &'static str,
        /// Subject of the message.
        subject: String,
        /// Answer of the server.
        reason: String,
    },
    /// A stream, bucket or consumer is not as declared.
    #[error("NATS is not set up as expected: {}", differences.join("; "))]
    Drift {
        /// One sentence for each.
        differences: Vec<String>,
    },
    /// There is no such object, result or dead letter.
    #[error("{what} does not exist")]
    NotFound {
        /// Name of the object.
        what: String,
    },
    /// A record of ours that cannot be read.
    #[error("{what} cannot be read: {reason}")]
    Malformed {
        /// Which record.
        what: String,
        /// Cause of the error, as in the message.
        reason: String,
    },
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Connect { .. }
            | Self::Request { .. }
            | Self::Refused { .. }
            | Self::Full { .. }
            | Self::Denied { .. }
            | Self::Drift { .. } => Class::RETRY,
            Self::NoJetStream { .. }
            | Self::Credentials { .. }
            | Self::TooLarge { .. }
            | Self::NotFound { .. }
            | Self::Malformed { .. } => Class::Terminal,
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Connect { .. } => Code::SH2001,
            Self::NoJetStream { .. } => Code::SH2012,
            Self::Request { .. } | Self::Refused { .. } | Self::Full { .. } => Code::SH2002,
            Self::Drift { .. } => Code::SH2003,
            Self::Denied { .. } => Code::SH2004,
            Self::Credentials { .. } => Code::SH2007,
            Self::NotFound { .. } | Self::Malformed { .. } => Code::SH2008,
            Self::TooLarge { .. } => Code::SH2011,
        }
    }
}
