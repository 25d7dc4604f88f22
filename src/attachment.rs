//! What a report says, but does not hold: it would not fit into one message. The worker keeps it beside the results; the
//! lower layers know only this trait.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::task_event::PublishError;

/// Where the rest of a report is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// `nats-object://<bucket>/<sha256>`: an object of this name in that bucket, with this digest.
    pub dataref: String,
    /// How many bytes it has.
    pub bytes: usize,
}

/// Stores attachments.
#[async_trait]
pub trait Attachments: Send + Sync {
    /// Stores JSON of at most [`crate::event::dataref::MAX_BYTES`] bytes, and returns after the store has confirmed it.
    ///
    /// # Errors
    /// When it may be lost.
    async fn attach(&self, json: Vec<u8>) -> Result<Attachment, PublishError>;
}

/// For callers that keep nothing.
#[async_trait]
impl Attachments for () {
    async fn attach(&self, _: Vec<u8>) -> Result<Attachment, PublishError> {
        Err(PublishError { reason: "there is no store of attachments".to_owned() })
    }
}
