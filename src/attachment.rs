//! What a report says, but does not hold: it would not fit into one message. The worker keeps it beside the results; the
//! lower layers know only this trait.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::notice::Untold;

/// Where the rest of a report is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// `nats-object://<bucket>/<sha256>`: an object of this name in that bucket, with this digest.
    pub dataref: String,
    /// How many bytes it has.
    pub bytes: usize,
}

/// Keeps attachments.
#[async_trait]
pub trait Attachments: Send + Sync {
    /// Keeps JSON, at most [`crate::event::dataref::MAX_BYTES`] of it, and waits until it is kept.
    ///
    /// # Errors
    /// When it may be lost.
    async fn attach(&self, json: Vec<u8>) -> Result<Attachment, Untold>;
}

/// For callers that keep nothing.
#[async_trait]
impl Attachments for () {
    async fn attach(&self, _: Vec<u8>) -> Result<Attachment, Untold> {
        Err(Untold { reason: "there is no store of attachments".to_owned() })
    }
}
