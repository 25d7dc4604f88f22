//! Fetches attachments of results.

use bytes::Bytes;
use serde_json::Value;

use super::{Client, Error};
use crate::attachment::Attachment;
use crate::bus;
use crate::event::{ResultData, dataref};

/// The attachment that the report of a result names, if any.
#[must_use]
pub fn attachment(result: &ResultData) -> Option<Attachment> {
    let named = result.report.as_ref().and_then(|report: &Value| report.get("attachment"))?;
    serde_json::from_value(named.clone()).ok()
}

impl Client {
    /// The bytes of an attachment, JSON. Their digest is checked, so they are those of the result.
    ///
    /// # Errors
    /// When the object does not exist any more, may not be read, or has another digest.
    pub async fn fetch(&self, attachment: &Attachment) -> Result<Bytes, Error> {
        let digest = dataref::digest(&attachment.dataref)?;
        let bucket = self.bus().subjects().attachment_bucket();
        let bytes = self.bus().read_object(bucket, digest, dataref::MAX_BYTES).await?;
        if !dataref::is_of(digest, &bytes) {
            let reason = "it has another digest".to_owned();
            return Err(bus::Error::Malformed { what: attachment.dataref.clone(), reason }.into());
        }
        Ok(bytes)
    }
}
