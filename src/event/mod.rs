//! The wire contract: reads and writes CloudEvents 1.0, their attributes, types and schemas. Uses neither a NATS client nor a
//! Kubernetes client.

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
mod waits;

pub use attempts::{AttemptedObject, EarlierAttempt};
pub use command::{Command, Origin, Rejection, decode, decode_attributes, sender};
pub use emit::{
    COMMAND_DIGEST, CONTENT_TYPE, CommandDraft, DEAD_LETTERED, DeadLettered, EventKind, Outcome, ResultData, Retrying,
    SOURCE, Started, dead_letter_event, progress_event, result_event, rfc3339,
};
pub use error::Error;
pub use fingerprint::Fingerprint;
pub use key::{CommandId, CommandKey, Target};
pub use waits::{WaitReason, Waited, waited_text};

/// Prefix of all types: `io.meshery.istio.command.<verb>.v1`.
pub const TYPE_PREFIX: &str = "io.meshery.istio";

/// Verb and version of a type such as `io.meshery.istio.command.ping.v1`. `part` is `command` or `result`; `None` for
/// other types.
#[must_use]
pub fn verb_and_version<'a>(ty: &'a str, part: &str) -> Option<(&'a str, &'a str)> {
    ty.strip_prefix(TYPE_PREFIX)?.strip_prefix('.')?.strip_prefix(part)?.strip_prefix('.')?.rsplit_once('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verb_is_read_from_the_type() {
        assert_eq!(
            verb_and_version("io.meshery.istio.command.config.apply.v1", "command"),
            Some(("config.apply", "v1"))
        );
        assert_eq!(verb_and_version("io.meshery.istio.result.ping.v1", "result"), Some(("ping", "v1")));
        assert_eq!(verb_and_version("something.else", "result"), None);
    }
}
