//! Stores parts of a report that are too large for a result. The lower layers use only this trait; the worker stores the parts
//! in an object store.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::task_event::PublishError;

/// Reference to a part of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// `nats-object://<bucket>/<sha256>`: an object of this name in that bucket, with this digest.
    pub dataref: String,
    /// Size of the object, bytes.
    pub bytes: usize,
}

/// Stores attachments.
#[async_trait]
pub trait Attachments: Send + Sync {
    /// Stores JSON of at most [`crate::event::dataref::MAX_BYTES`] bytes. Returns after the store has confirmed it.
    ///
    /// # Errors
    /// When the store has not confirmed it.
    async fn attach(&self, json: Vec<u8>) -> Result<Attachment, PublishError>;
}

/// Refuses attachments, for callers without a store.
#[async_trait]
impl Attachments for () {
    async fn attach(&self, _: Vec<u8>) -> Result<Attachment, PublishError> {
        Err(PublishError { reason: "there is no store of attachments".to_owned() })
    }
}
