//! Writes of producers and operators: commands, cancellations, pauses, large parameters, deletions.

use async_nats::client::Request;
use async_nats::{HeaderMap, header};
use bytes::Bytes;
use cloudevents::Event;

use super::publish::{ApiError, Message, message_id};
use super::{NatsBus, TIMEOUT};
use crate::bus::{Cancellation, Error};
use crate::event::{CommandId, CommandKey, Target};

/// Text of the server for a message that does not exist. Its error code is the same for all failed deletions.
const NOT_THERE: &str = "no message found";

impl NatsBus {
    /// Publishes a command. Returns whether it was a duplicate (same `key` within the `duplicate_window` of the stream).
    ///
    /// # Errors
    /// When the server does not confirm it.
    pub async fn send_command(
        &self,
        target: &Target,
        verb: &str,
        key: &CommandKey,
        event: &Event,
    ) -> Result<bool, Error> {
        let mut message = Message::event(self.subjects.command(target, verb), event)?;
        // Commands of other sources or for other targets may have the same event id.
        message.headers.insert(header::NATS_MESSAGE_ID, CommandId::new(target, key).to_string());
        let (_, duplicate) = self.publish(message).await?;
        Ok(duplicate)
    }

    /// Requests that all workers, also future ones, end the command. `note` is for operators.
    ///
    /// # Errors
    /// When the server does not confirm it.
    pub async fn request_cancel(&self, cancellation: &Cancellation, note: &serde_json::Value) -> Result<(), Error> {
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_MESSAGE_ID, message_id());
        let subject = self.subjects.cancel(cancellation);
        let message = Message { subject, headers, payload: note.to_string().into() };
        self.publish(message).await.map(|_| ())
    }

    /// Pauses a target. The key does not expire with the `max_age` of the bucket (ADR-43, `Nats-TTL: never`), so that a pause
    /// lasts until it is ended.
    ///
    /// # Errors
    /// When the server does not confirm it.
    pub async fn pause(&self, target: &Target, note: &serde_json::Value) -> Result<(), Error> {
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_MESSAGE_ID, message_id());
        headers.insert(header::NATS_MESSAGE_TTL, "never");
        let message = Message { subject: self.subjects.pause(target), headers, payload: note.to_string().into() };
        self.publish(message).await.map(|_| ())
    }

    /// Ends a pause.
    ///
    /// # Errors
    /// When the server does not confirm it.
    pub async fn resume(&self, target: &Target) -> Result<(), Error> {
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_MESSAGE_ID, message_id());
        headers.insert("KV-Operation", "DEL");
        let message = Message { subject: self.subjects.pause(target), headers, payload: Bytes::new() };
        self.publish(message).await.map(|_| ())
    }

    /// Deletes one message of a stream. Returns whether it existed.
    ///
    /// # Errors
    /// When the server does not confirm it.
    pub async fn remove(&self, stream: &str, sequence: u64) -> Result<bool, Error> {
        #[derive(serde::Deserialize)]
        struct Answer {
            error: Option<ApiError>,
        }
        let subject = format!("$JS.API.STREAM.MSG.DELETE.{stream}");
        let request = Request::new().payload(serde_json::json!({ "seq": sequence }).to_string().into());
        let reply = self.request("delete", &subject, request, TIMEOUT).await?;
        let answer: Answer = serde_json::from_slice(&reply.payload).map_err(|error| Error::Malformed {
            what: format!("the answer on {subject}"),
            reason: error.to_string(),
        })?;
        match answer.error {
            None => Ok(true),
            Some(error) if error.description == NOT_THERE => Ok(false),
            Some(ApiError { err_code: code, description }) => {
                Err(Error::Refused { operation: "delete", subject, code, description })
            }
        }
    }

    /// Writes an object. An object with the same name and size is not written again, because names are digests.
    ///
    /// # Errors
    /// When the store refuses them.
    pub async fn upload(&self, bucket: String, name: &str, mut bytes: &[u8]) -> Result<(), Error> {
        let fail = |operation, source: Box<dyn std::error::Error + Send + Sync>| Error::Request {
            operation,
            subject: bucket.clone(),
            source,
        };
        let store = self.context.get_object_store(&bucket).await.map_err(|e| fail("open", e.into()))?;
        if store.info(name).await.is_ok_and(|info| info.size == bytes.len() && !info.deleted) {
            return Ok(());
        }
        store.put(name, &mut bytes).await.map(|_| ()).map_err(|e| fail("upload", e.into()))
    }
}
