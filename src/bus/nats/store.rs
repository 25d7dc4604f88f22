//! Records on the bus: leases, attempts, results. Leases and attempts are keys of buckets, written with compare-and-swap on
//! the revision of the key. The key-value store of the client is not used: its `create` over a delete marker loses the time
//! to live, and its compare-and-swap loses the cause of an error (`tests/it_bus/facts.rs`).

use async_nats::HeaderMap;

use super::NatsBus;
use super::publish::{COMMAND_DIGEST, COMMAND_VERB, Message, message_id};
use crate::bus::{AttemptRecord, Error, Lease, LeaseName, RecordKey, ResultRecord, SHORT_RETENTION, Swap};
use crate::event::{CommandId, Fingerprint};

const OPERATION: &str = "KV-Operation";

impl NatsBus {
    pub(super) async fn acquire_lease(&self, name: &LeaseName, owner: &str) -> Result<Option<Lease>, Error> {
        let subject = self.subjects.lease(&name.target, &name.installation);
        let held = |revision| Some(Lease { name: name.clone(), fence: revision, revision });
        let stream = stream_of(&self.subjects.lease_bucket());
        if let Swap::Won(revision) = self.swap(&stream, put(subject.clone(), owner.to_owned()), 0).await? {
            return Ok(held(revision));
        }
        // Another owner holds the lease, or the marker of its release is still stored.
        let expected = match self.last(&stream, &subject).await? {
            None => 0,
            Some(message) if message.headers.get(OPERATION).is_some() => message.sequence,
            Some(_) => return Ok(None),
        };
        match self.swap(&stream, put(subject, owner.to_owned()), expected).await? {
            Swap::Won(revision) => Ok(held(revision)),
            Swap::Lost => Ok(None),
        }
    }

    pub(super) async fn renew_lease(&self, lease: &Lease, owner: &str) -> Result<Option<Lease>, Error> {
        let subject = self.subjects.lease(&lease.name.target, &lease.name.installation);
        match self
            .swap(&stream_of(&self.subjects.lease_bucket()), put(subject, owner.to_owned()), lease.revision)
            .await?
        {
            Swap::Won(revision) => Ok(Some(Lease { revision, ..lease.clone() })),
            Swap::Lost => Ok(None),
        }
    }

    pub(super) async fn release_lease(&self, lease: &Lease) -> Result<(), Error> {
        let subject = self.subjects.lease(&lease.name.target, &lease.name.installation);
        let mut message = put(subject, String::new());
        message.headers.insert(OPERATION, "DEL");
        self.swap(&stream_of(&self.subjects.lease_bucket()), message, lease.revision).await.map(|_| ())
    }

    pub(super) async fn read_result(&self, command: &CommandId) -> Result<Option<ResultRecord>, Error> {
        let found = self.headers_of_last(&self.subjects.result_stream(), &self.subjects.result(command)).await?;
        Ok(found.map(|headers| {
            let text = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
            let fingerprint = text(COMMAND_VERB).zip(text(COMMAND_DIGEST));
            ResultRecord { fingerprint: fingerprint.map(|(verb, digest)| Fingerprint { verb, digest }) }
        }))
    }

    pub(super) async fn read_attempts(&self, key: &RecordKey) -> Result<(AttemptRecord, u64), Error> {
        let stream = stream_of(&self.subjects.attempt_bucket());
        match self.last(&stream, &self.subjects.attempts(key)).await? {
            None => Ok((AttemptRecord::default(), 0)),
            Some(message) if message.headers.get(OPERATION).is_some() => {
                Ok((AttemptRecord::default(), message.sequence))
            }
            Some(message) => {
                serde_json::from_slice(&message.payload).map(|attempts| (attempts, message.sequence)).map_err(|error| {
                    Error::Malformed { what: format!("attempt record of {key}"), reason: error.to_string() }
                })
            }
        }
    }

    pub(super) async fn write_attempts(
        &self,
        key: &RecordKey,
        record: &AttemptRecord,
        revision: u64,
    ) -> Result<Swap, Error> {
        let text = serde_json::to_string(record).map_err(|error| Error::Malformed {
            what: format!("attempt record of {key}"),
            reason: error.to_string(),
        })?;
        let mut message = put(self.subjects.attempts(key), text);
        // A record without an attempt binds the id of a command that waits, and must not expire before it.
        if record.read_only && record.attempts > 0 {
            message.expire_after(2 * SHORT_RETENTION);
        }
        self.swap(&stream_of(&self.subjects.attempt_bucket()), message, revision).await
    }
}

/// The stream of a bucket.
fn stream_of(bucket: &str) -> String {
    format!("KV_{bucket}")
}

/// A write to a bucket. By its message id the server recognizes a repetition after a lost answer.
fn put(subject: String, value: String) -> Message {
    let mut headers = HeaderMap::new();
    headers.insert(async_nats::header::NATS_MESSAGE_ID, message_id());
    Message { subject, headers, payload: value.into() }
}
