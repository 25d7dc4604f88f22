//! Sends commands and cancellations.

use time::OffsetDateTime;

use super::{Client, Error};
use crate::bus;
use crate::event::{self, CommandDraft, CommandKey, Target, dataref, rfc3339};

/// Largest parameters that are part of the message, bytes.
pub const MAX_INLINE: usize = 256 * 1024;

/// A command that the server has stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// Key of the command.
    pub key: CommandKey,
    /// The server had stored a command with the same source and id in the `duplicate_window` of the stream.
    pub duplicate: bool,
}

impl Client {
    /// Sends a command. Large parameters are first written to the object store, and the command references them.
    ///
    /// # Errors
    /// When the parameters are too large, or the server does not confirm the message.
    pub async fn submit(&self, target: &Target, mut draft: CommandDraft) -> Result<Submitted, Error> {
        let text = draft.params.to_string();
        if text.len() > dataref::MAX_BYTES {
            return Err(event::Error::TooLarge { size: text.len(), limit: dataref::MAX_BYTES }.into());
        }
        if text.len() > MAX_INLINE {
            let bucket = self.bus().subjects().own_parameter_bucket();
            let named = dataref::of(&bucket, text.as_bytes());
            self.bus().upload(bucket, &named.digest, text.as_bytes()).await?;
            draft.dataref = Some(named.reference);
        }
        let key = draft.key();
        let event = draft.event(target, OffsetDateTime::now_utc())?;
        let duplicate = self.bus().send_command(target, &draft.verb, &key, &event).await?;
        Ok(Submitted { key, duplicate })
    }

    /// Requests the cancellation of a queued or running command. Has no effect on a command that has ended.
    ///
    /// # Errors
    /// When the server does not confirm it.
    pub async fn cancel(&self, key: &CommandKey, who: &str) -> Result<(), bus::Error> {
        let note = serde_json::json!({ "by": who, "at": rfc3339(OffsetDateTime::now_utc()) });
        self.bus().request_cancel(&bus::Cancellation::of_all_targets(key), &note).await
    }
}
