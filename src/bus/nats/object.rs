//! Reads objects of the object store (nats-architecture-and-design ADR-20). Any client with write permission for a bucket
//! writes the metadata of its objects, so they are checked before a chunk is read. The reader of the client is not used: it
//! follows any number of links, and waits without a limit for missing chunks.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use futures::StreamExt;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::NatsBus;
use crate::bus::Error;

/// Longest time to read one object.
const READ: Duration = Duration::from_secs(30);
/// Maximum number of chunks of one object. Clients write chunks of 128 KiB by default.
const MAX_CHUNKS: u64 = 4096;
/// Longest id of the chunks of an object, bytes. Clients write 22.
const MAX_ID: usize = 64;

/// The part of the metadata of an object that a reader needs.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
    bucket: String,
    /// Id of the chunks.
    nuid: String,
    size: u64,
    chunks: u64,
    deleted: bool,
    options: Option<Options>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Options {
    link: Option<IgnoredAny>,
}

impl Metadata {
    /// Whether this is an object of the bucket that can be read within `limit` bytes.
    fn check(&self, bucket: &str, name: &str, limit: usize) -> Result<(), String> {
        if self.name != name || self.bucket != bucket {
            return Err("its metadata names another object or bucket".to_owned());
        }
        if self.options.as_ref().is_some_and(|options| options.link.is_some()) {
            return Err("it is a link; links are not followed".to_owned());
        }
        if self.size > limit as u64 {
            return Err(format!("it is larger than {limit} bytes"));
        }
        if self.chunks > MAX_CHUNKS {
            return Err(format!("it has more than {MAX_CHUNKS} chunks"));
        }
        if (self.size == 0) != (self.chunks == 0) || self.chunks > self.size {
            return Err(format!("its metadata is inconsistent: {} chunks of {} bytes", self.chunks, self.size));
        }
        let is_token = |id: &str| {
            (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if self.chunks > 0 && !is_token(&self.nuid) {
            return Err("the id of its chunks is not valid".to_owned());
        }
        Ok(())
    }
}

impl NatsBus {
    /// The object of this name in a bucket, at most `limit` bytes. Takes 30 s at most.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an object that does not exist or was deleted. [`Error::Malformed`] for a link, and for one
    /// that is too large or incomplete. Otherwise that the server did not answer in time.
    pub async fn read_object(&self, bucket: String, name: &str, limit: usize) -> Result<Bytes, Error> {
        let read = tokio::time::timeout(READ, self.read_checked(&bucket, name, limit)).await;
        read.unwrap_or_else(|_| {
            let source = format!("the object was not read within {} s", READ.as_secs()).into();
            Err(Error::Request { operation: "read", subject: object(&bucket, name), source })
        })
    }

    async fn read_checked(&self, bucket: &str, name: &str, limit: usize) -> Result<Bytes, Error> {
        let what = || object(bucket, name);
        let malformed = |reason: String| Error::Malformed { what: what(), reason };
        let stream = format!("OBJ_{bucket}");
        let subject = format!("$O.{bucket}.M.{}", URL_SAFE.encode(name));
        let mut seen = 0;
        loop {
            let Some(stored) = self.last(&stream, &subject).await? else {
                return Err(Error::NotFound { what: what() });
            };
            let metadata: Metadata = serde_json::from_slice(&stored.payload)
                .map_err(|error| malformed(format!("its metadata is not valid: {error}")))?;
            if metadata.deleted {
                return Err(Error::NotFound { what: what() });
            }
            metadata.check(bucket, name, limit).map_err(malformed)?;
            match self.read_chunks(&stream, bucket, &metadata).await? {
                Ok(bytes) => return Ok(bytes),
                Err(reason) if seen == stored.sequence => return Err(malformed(reason)),
                // A client that writes the object again removes the previous chunks.
                Err(_) => seen = stored.sequence,
            }
        }
    }

    /// The chunks in order, or an error if they do not match the metadata.
    async fn read_chunks(
        &self,
        stream: &str,
        bucket: &str,
        metadata: &Metadata,
    ) -> Result<Result<Bytes, String>, Error> {
        if metadata.chunks == 0 {
            return Ok(Ok(Bytes::new()));
        }
        let subject = format!("$O.{bucket}.C.{}", metadata.nuid);
        let (mut messages, stored) =
            self.follow(stream, &subject, async_nats::jetstream::consumer::DeliverPolicy::All).await?;
        if stored != metadata.chunks {
            return Ok(Err(format!("it has {stored} chunks; its metadata says {}", metadata.chunks)));
        }
        let mut bytes = Vec::new();
        for _ in 0..stored {
            let fail = |source: Box<dyn std::error::Error + Send + Sync>| Error::Request {
                operation: "read",
                subject: subject.clone(),
                source,
            };
            let chunk = messages.next().await.ok_or_else(|| fail("the stream ended".into()))?;
            let chunk = chunk.map_err(|error| fail(error.into()))?;
            bytes.extend_from_slice(&chunk.payload);
            if bytes.len() as u64 > metadata.size {
                break;
            }
        }
        if bytes.len() as u64 != metadata.size {
            return Ok(Err(format!("its chunks do not have the {} bytes of its metadata", metadata.size)));
        }
        Ok(Ok(bytes.into()))
    }
}

fn object(bucket: &str, name: &str) -> String {
    format!("object {name} in {bucket}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(change: &serde_json::Value) -> Result<(), String> {
        let mut metadata = json!({"name": "n", "bucket": "b", "nuid": "abc", "size": 10, "chunks": 2});
        metadata.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        serde_json::from_value::<Metadata>(metadata).unwrap().check("b", "n", 100)
    }

    #[test]
    fn whole_object_within_the_limit_is_read() {
        for change in [
            json!({}),
            json!({"options": {"max_chunk_size": 131_072}, "digest": "SHA-256=x", "mtime": "x"}),
            json!({"options": {"link": null}}),
            json!({"size": 0, "chunks": 0, "nuid": ""}),
            json!({"size": 100, "chunks": 100}),
        ] {
            assert_eq!(check(&change), Ok(()), "{change}");
        }
    }

    #[test]
    fn link_foreign_oversized_and_inconsistent_metadata_is_refused() {
        for (change, reason) in [
            (json!({"options": {"link": {"bucket": "b", "name": "n"}}}), "link"),
            (json!({"options": {"link": {"bucket": "other"}}}), "link"),
            (json!({"name": "other"}), "another object"),
            (json!({"bucket": "other"}), "another object"),
            (json!({"size": 101}), "larger"),
            (json!({"size": 0}), "inconsistent"),
            (json!({"chunks": 0}), "inconsistent"),
            (json!({"chunks": 11}), "inconsistent"),
            (json!({"size": 100, "chunks": 1_000_000}), "chunks"),
            (json!({"nuid": ""}), "id of its chunks"),
            (json!({"nuid": "*"}), "id of its chunks"),
            (json!({"nuid": "a.>"}), "id of its chunks"),
        ] {
            assert!(check(&change).unwrap_err().contains(reason), "{change}");
        }
    }
}
