//! The wire contract: CloudEvents 1.0 in and out, their attributes, types and schemas. Knows neither NATS client
//! nor Kubernetes.

mod attempts;
pub mod binding;
mod command;
pub mod dataref;
mod emit;
mod error;
mod fingerprint;
pub mod json;
mod key;
pub mod params;
pub mod schema;

pub use attempts::{AttemptedObject, EarlierAttempt};
pub use command::{Command, Origin, Rejection, decode, sender};
pub use emit::{
    COMMAND_DIGEST, CONTENT_TYPE, CommandDraft, DEAD_LETTERED, DeadLettered, EventKind, Outcome, ResultData, Retrying,
    SOURCE, Started, dead_letter_event, progress_event, result_event, rfc3339,
};
pub use error::Error;
pub use fingerprint::Fingerprint;
pub use key::{CommandId, CommandKey, Target, hex};

/// Prefix of all types: `io.meshery.istio.command.<verb>.v1`.
pub const TYPE_PREFIX: &str = "io.meshery.istio";
