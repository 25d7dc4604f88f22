//! Errors of messages that are not valid commands.

use crate::error::{Class, Classify, Code};

/// Commands with these errors are rejected: the same message never becomes valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The message is in neither structured nor binary mode.
    #[error("the message is not a CloudEvent: {reason}")]
    NotAnEvent {
        /// The content that was found.
        reason: String,
    },
    /// An attribute is missing or malformed.
    #[error("attribute {name}: {reason}")]
    Attribute {
        /// The attribute's name.
        name: String,
        /// Cause of the error, as in the message.
        reason: String,
    },
    /// No task has the type.
    #[error("unknown command type {found}")]
    UnknownType {
        /// The event's type.
        found: String,
    },
    /// The version of the verb is unknown.
    #[error("command {verb} has version v1 only, not {found}")]
    UnknownVersion {
        /// The verb.
        verb: String,
        /// The version of the event.
        found: String,
    },
    /// Subject and event name different targets or verbs. Permissions are granted by subject.
    #[error("the subject names {subject}, but the event names {event}")]
    SubjectMismatch {
        /// Target and verb of the NATS subject.
        subject: String,
        /// Target and verb of the event.
        event: String,
    },
    /// `data` does not match the schema of the verb.
    #[error("data{path}: {reason}")]
    Params {
        /// JSON pointer below `data`.
        path: String,
        /// What the schema requires.
        reason: String,
    },
    /// The command is too large.
    #[error("the command has {size} bytes; the limit is {limit}")]
    TooLarge {
        /// Bytes of the message.
        size: usize,
        /// Limit, bytes.
        limit: usize,
    },
    /// `dataref` is malformed, or its object does not exist or has another digest.
    #[error("dataref {dataref}: {reason}")]
    DataRef {
        /// The value in the event.
        dataref: String,
        /// Cause of the error, as in the message.
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
