//! Why a message is not a command.

use crate::error::{Class, Classify, Code};

/// All of these are rejected: the same bytes will never become a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Neither structured nor binary mode.
    #[error("the message is not a CloudEvent: {reason}")]
    NotAnEvent {
        /// What was found instead.
        reason: String,
    },
    /// An attribute is missing or malformed.
    #[error("attribute {name}: {reason}")]
    Attribute {
        /// The attribute's name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A type that no task has.
    #[error("unknown command type {found}")]
    UnknownType {
        /// The event's type.
        found: String,
    },
    /// A known verb in a version that this worker does not know.
    #[error("command {verb} is known as v1 only, not as {found}")]
    UnknownVersion {
        /// The verb.
        verb: String,
        /// The version asked for.
        found: String,
    },
    /// Permissions are granted by subject, so the event must say the same.
    #[error("the subject says {subject}, the event says {event}")]
    SubjectMismatch {
        /// Target and verb of the NATS subject.
        subject: String,
        /// Target and verb of the event.
        event: String,
    },
    /// `data` does not fit the verb's schema.
    #[error("data{path}: {reason}")]
    Params {
        /// JSON pointer below `data`.
        path: String,
        /// What the schema asks for.
        reason: String,
    },
    /// Larger than a command may be.
    #[error("the command has {size} bytes, at most {limit} are taken")]
    TooLarge {
        /// Bytes of the message.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// `dataref` names something else than an object of our store, or one that is not what it says.
    #[error("dataref {dataref}: {reason}")]
    DataRef {
        /// As the event has it.
        dataref: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Classify for Error {
    fn class(&self) -> Class {
        Class::Rejected
    }

    fn code(&self) -> Code {
        match self {
            Self::NotAnEvent { .. } => Code::SH1001,
            Self::Attribute { .. } => Code::SH1002,
            Self::UnknownType { .. } => Code::SH1003,
            Self::UnknownVersion { .. } => Code::SH1004,
            Self::Params { .. } => Code::SH1005,
            Self::TooLarge { .. } => Code::SH1006,
            Self::DataRef { .. } => Code::SH1007,
            Self::SubjectMismatch { .. } => Code::SH1009,
        }
    }
}
