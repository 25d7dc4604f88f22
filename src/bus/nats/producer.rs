//! What a producer and an operator write: commands, cancellations, large parameters; and what they delete.

use async_nats::client::Request;
use async_nats::{HeaderMap, header};
use bytes::Bytes;
use cloudevents::Event;

use super::publish::{ApiError, Message, message_id};
use super::{NatsBus, TIMEOUT};
use crate::bus::{Cancellation, Error};
use crate::event::{CommandId, CommandKey, Target};

/// How the server says that there is no such message; it has a code only for all failures to delete.
const NOT_THERE: &str = "no message found";

impl NatsBus {
    /// Puts a command into the queue. Says whether it was there already (same `key` within the stream's
    /// `duplicate_window`).
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
        // The id of the event alone would be that of commands from other sources or on other targets too.
        message.headers.insert(header::NATS_MESSAGE_ID, CommandId::new(target, key).to_string());
        let (_, duplicate) = self.publish(message).await?;
        Ok(duplicate)
    }

    /// Asks every worker, now and later, to end the command. `note` is for people.
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

    /// Has the commands of a target wait. The note outlives the bucket's `max_age` (ADR-43, `Nats-TTL: never`): a pause
    /// that ended by itself would end a maintenance.
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

    /// Deletes one message of a stream. Says whether it was there.
    ///
    /// # Errors
    /// When the server does not do it.
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

    /// Puts bytes into a bucket of objects. One of the same name and size is left as it is: names are digests.
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
