//! Sends commands and cancellations.

use time::OffsetDateTime;

use super::{Client, Error};
use crate::bus;
use crate::event::{self, CommandDraft, CommandKey, Target, dataref, rfc3339};

/// Parameters up to this size travel in the message.
pub const MAX_INLINE: usize = 256 * 1024;

/// A command that the queue has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// How it is named on the bus.
    pub key: CommandKey,
    /// The queue had it already: the same source and id, some minutes ago at most.
    pub duplicate: bool,
}

impl Client {
    /// Sends a command. Large parameters go into the object store first and the command refers to them.
    ///
    /// # Errors
    /// Parameters that are too large, or a server that does not confirm.
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

    /// Asks for a command to end, whether it waits or runs. One that has ended is not changed by it.
    ///
    /// # Errors
    /// A server that does not confirm.
    pub async fn cancel(&self, key: &CommandKey, who: &str) -> Result<(), bus::Error> {
        let note = serde_json::json!({ "by": who, "at": rfc3339(OffsetDateTime::now_utc()) });
        self.bus().request_cancel(&bus::Cancellation::of_all_targets(key), &note).await
    }
}
