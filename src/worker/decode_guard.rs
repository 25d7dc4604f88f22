//! Decodes a message to a command, guarded against messages that crash the process while it decodes them, before an attempt
//! is recorded. From its second delivery on, the decoding of a message has a record too, until it succeeds once. After two
//! more crashes the message is quarantined. A process records one decoding at a time, so that a crash with another cause is
//! counted against few messages. The first delivery of a message, which nearly all are, costs nothing.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use tokio::time::Instant;

use super::attempt::{CommandContext, InFlight};
use super::{Engine, Error, provenance};
use crate::bus::{self, AttemptRecord, DeadReason, Delivery, Queue, RecordKey, Swap};
use crate::error::{Class, Classify, Problem};
use crate::event::params::ParamsValidator;
use crate::event::{self, Command, Origin, Outcome, dataref};
use crate::failpoint::{Step, reach};
use crate::task::DynTask;

/// First delivery of a message whose decoding is recorded.
const RECORDED_FROM: u64 = 2;
/// Crashes during recorded decodings after which the message is quarantined.
const MAX_CRASHES: u32 = 2;
/// Messages that this process remembers as decodable.
const MAX_KNOWN: usize = 4096;

/// A delivery after decoding.
pub(super) enum Decoded<'a> {
    /// A valid command.
    Command(Box<DecodedCommand<'a>>),
    /// Not a valid command.
    Rejected(Undecodable),
    /// Nothing remains to be done: the message is settled, or another worker decodes it.
    Settled,
}

/// A command whose envelope is valid.
pub(super) struct DecodedCommand<'a> {
    pub command: Command,
    pub task: &'a dyn DynTask,
    /// `None` when the parameters are in the object store.
    pub params: Option<Params>,
}

/// Parameters that match the schema of the task.
pub(super) struct Params {
    pub value: Value,
    /// The installation that the command writes; `None` for a command that writes nothing.
    pub installation: Option<String>,
}

/// Parameters from the object store.
pub(super) enum FetchedParams {
    /// They are valid. The number is the size of the object in bytes.
    Valid(Params, usize),
    /// They do not exist or are not valid.
    Rejected(Error),
    /// Nothing remains to be done: the message is settled, or another worker reads the parameters.
    Settled,
}

/// Why a message is not a command, and its sender, if the sender is known and may get a result.
pub(super) struct Undecodable {
    pub error: Error,
    pub sender: Option<Box<Origin>>,
}

impl Undecodable {
    fn new(error: impl Into<Error>, sender: Option<&Origin>) -> Self {
        Self { error: error.into(), sender: sender.cloned().map(Box::new) }
    }
}

/// The end of a guarded decoding.
enum Guarded<T> {
    /// The process has survived it.
    Done(T),
    /// Another worker decodes the message.
    TakenOver,
    /// Not tried again, after so many crashes.
    TooManyCrashes(u32),
}

/// Decodings that this process has recorded.
#[derive(Debug, Default)]
pub(super) struct DecodeGuard {
    /// Messages that were delivered several times and were decoded.
    known_decodable: Mutex<HashSet<RecordKey>>,
    /// Held during a recorded decoding, so that there is one at a time. Nothing is fetched meanwhile.
    alone: tokio::sync::Mutex<()>,
}

impl DecodeGuard {
    fn has(&self, message: &RecordKey) -> bool {
        self.known_decodable.lock().unwrap_or_else(PoisonError::into_inner).contains(message)
    }

    fn add(&self, message: RecordKey) {
        let mut known = self.known_decodable.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(message);
    }
}

/// Whether a recorded decoding has succeeded: earlier crashes had another cause.
fn decoded_before(record: &AttemptRecord) -> bool {
    record.attempts > 0 && !record.in_progress && record.crashes == 0
}

impl Engine {
    /// Decodes the message. Parameters in the object store are left to [`Engine::fetch_params`].
    pub(super) async fn decode_delivery(
        &self,
        delivery: &Delivery,
        in_flight: &InFlight,
        received: Instant,
    ) -> Result<Decoded<'_>, bus::Error> {
        let decode = async {
            reach(Step::Received);
            self.decode(delivery)
        };
        let key = RecordKey::message(delivery.queue, delivery.sequence);
        match self.guard_decoding(delivery, in_flight, key, decode).await? {
            Guarded::Done(Ok(command)) => Ok(Decoded::Command(Box::new(command))),
            Guarded::Done(Err(undecodable)) => Ok(Decoded::Rejected(undecodable)),
            Guarded::TakenOver => Ok(Decoded::Settled),
            Guarded::TooManyCrashes(times) => {
                // In binary mode the headers name the sender. The payload is not decoded again.
                let address = delivery.address.as_ref();
                let origin = address.and_then(|(target, verb)| event::sender(target, verb, &delivery.header_pairs()));
                self.quarantine(delivery, origin.as_ref(), times, received).await?;
                Ok(Decoded::Settled)
            }
        }
    }

    /// Reads the parameters of a command from the object store: `nats-object://<bucket>/<sha256>`. The digest is the name
    /// of the object, and is checked.
    pub(super) async fn fetch_params(
        &self,
        cx: &CommandContext<'_>,
        dataref: &str,
    ) -> Result<FetchedParams, bus::Error> {
        let wrong = |reason: &str| event::Error::DataRef { dataref: dataref.to_owned(), reason: reason.to_owned() };
        let (bucket, digest) = match dataref::parse(dataref) {
            Ok(parts) => parts,
            Err(error) => return Ok(FetchedParams::Rejected(error.into())),
        };
        if !self.bus.subjects().parameter_buckets().iter().any(|known| known == bucket) {
            let error = wrong("the bucket is not a parameter store of the worker");
            return Ok(FetchedParams::Rejected(error.into()));
        }
        let bytes = match self.bus.blob(bucket, digest, dataref::MAX_BYTES).await {
            Err(error) if error.class() == Class::Terminal => {
                return Ok(FetchedParams::Rejected(wrong(&error.to_string()).into()));
            }
            other => other?,
        };
        let size = bytes.len();
        let read = async {
            let digest = digest.to_owned();
            // On another thread, because parsing several MiB would delay heartbeats.
            let read =
                tokio::task::spawn_blocking(move || (dataref::is_of(&digest, &bytes), event::json::read(&bytes)));
            let (has_digest, value) = read.await.map_err(|error| wrong(&error.to_string()))?;
            if !has_digest {
                return Err(wrong("the object has another digest").into());
            }
            let value = value.map_err(|error| wrong(&format!("is not JSON: {error}")))?;
            self.check(cx.task, value)
        };
        let key = RecordKey::parameters(cx.delivery.queue, cx.delivery.sequence);
        match self.guard_decoding(cx.delivery, cx.in_flight, key, read).await? {
            Guarded::Done(Ok(params)) => Ok(FetchedParams::Valid(params, size)),
            Guarded::Done(Err(error)) => Ok(FetchedParams::Rejected(error)),
            Guarded::TakenOver => Ok(FetchedParams::Settled),
            Guarded::TooManyCrashes(times) => {
                self.quarantine(cx.delivery, Some(&cx.command.origin), times, cx.received).await?;
                Ok(FetchedParams::Settled)
            }
        }
    }

    /// Decodes, and records that from the second delivery of the message on.
    async fn guard_decoding<T>(
        &self,
        delivery: &Delivery,
        in_flight: &InFlight,
        key: RecordKey,
        decode: impl Future<Output = T>,
    ) -> Result<Guarded<T>, bus::Error> {
        if delivery.delivered < RECORDED_FROM || self.decode_guard.has(&key) {
            return Ok(Guarded::Done(decode.await));
        }
        let (before, revision) = self.bus.attempts(&key).await?;
        if decoded_before(&before) {
            self.decode_guard.add(key);
            return Ok(Guarded::Done(decode.await));
        }
        let crashes = before.crashes + u32::from(before.in_progress);
        if crashes >= MAX_CRASHES {
            return Ok(Guarded::TooManyCrashes(crashes));
        }
        let _alone = self.decode_guard.alone.lock().await;
        let record = AttemptRecord {
            attempts: before.attempts + 1,
            runs: before.runs + 1,
            first_started_s: self.clock.now().unix_timestamp(),
            worker: self.settings.worker.clone(),
            in_progress: true,
            crashes,
            ..AttemptRecord::default()
        };
        in_flight.begin(&key, record.runs);
        let Swap::Won(revision) = self.bus.record_attempts(&key, &record, revision).await? else {
            in_flight.end();
            return Ok(Guarded::TakenOver);
        };
        let decoded = decode.await;
        self.decode_guard.add(key.clone());
        let record = AttemptRecord { in_progress: false, crashes: 0, ..record };
        // The worker that was faster has counted this decoding as a crash. `handle` rolls the record back.
        if self.bus.record_attempts(&key, &record, revision).await? == Swap::Lost {
            return Ok(Guarded::TakenOver);
        }
        in_flight.end();
        Ok(Guarded::Done(decoded))
    }

    /// Decodes the message without a record.
    pub(super) fn decode(&self, delivery: &Delivery) -> Result<DecodedCommand<'_>, Undecodable> {
        let Some((target, verb)) = &delivery.address else {
            let reason = format!("{:?} does not name a target and a verb", delivery.subject);
            return Err(Undecodable::new(event::Error::Attribute { name: "NATS subject".to_owned(), reason }, None));
        };
        let decoded = event::decode(target, verb, &delivery.header_pairs(), &delivery.payload);
        let origin = match &decoded {
            Ok(command) => Some(&command.origin),
            Err(rejection) => rejection.origin.as_deref(),
        };
        if let Err(error) = self.check_provenance(delivery, origin) {
            // A client that schedules messages may lack the permission for this subject, so the command gets no result.
            let origin = origin.filter(|_| matches!(error, Error::ForbiddenHeader { .. }));
            return Err(Undecodable::new(error, origin));
        }
        let mut command = decoded.map_err(|it| Undecodable { error: it.error.into(), sender: it.origin })?;
        let Some((task, _)) = self.task(&command.origin.verb) else {
            let found = format!("{}.command.{}.v1", event::TYPE_PREFIX, command.origin.verb);
            return Err(Undecodable::new(event::Error::UnknownType { found }, Some(&command.origin)));
        };
        let target = command.origin.target.as_str();
        if !self.clusters.knows(target) {
            return Err(Undecodable::new(Error::UnknownTarget { target: target.to_owned() }, Some(&command.origin)));
        }
        if !self.clusters.allows_verb(target, task.verb()) {
            let error = Error::VerbNotAllowed { target: target.to_owned(), verb: task.verb().to_owned() };
            return Err(Undecodable::new(error, Some(&command.origin)));
        }
        let params = if command.dataref.is_some() {
            None
        } else {
            let value = std::mem::take(&mut command.params);
            Some(self.check(task, value).map_err(|error| Undecodable::new(error, Some(&command.origin)))?)
        };
        Ok(DecodedCommand { command, task, params })
    }

    /// Checks by its headers how the message was published. `origin` is that of the command in it, if it can be read.
    pub(super) fn check_provenance(&self, delivery: &Delivery, origin: Option<&Origin>) -> Result<(), Error> {
        let origin = origin.filter(|_| delivery.queue == Queue::Waiting);
        let schedule = origin.map(|origin| self.bus.subjects().schedule(&origin.command()));
        provenance::check(delivery.header_pairs(), schedule.as_deref())
    }

    /// Checks parameters against the schema of their task, and against its type.
    fn check(&self, task: &dyn DynTask, value: Value) -> Result<Params, Error> {
        if let Some(validator) = self.params.get(task.verb()) {
            let validator: &ParamsValidator = validator;
            validator.check(&value)?;
        }
        // The type checks what the schema cannot express, such as the format of a duration.
        let wrong = |reason| event::Error::Params { path: String::new(), reason };
        let installation = task.installation(&value).map_err(wrong)?;
        Ok(Params { value, installation })
    }

    /// Moves a message that is not decoded again to the dead letters, with a result if its sender is known.
    async fn quarantine(
        &self,
        delivery: &Delivery,
        origin: Option<&Origin>,
        times: u32,
        received: Instant,
    ) -> Result<(), bus::Error> {
        let problem = Problem::new(&Error::CrashesDecoding { times });
        self.refuse(delivery, origin, (DeadReason::Quarantined, Outcome::Failed), problem, received).await
    }
}
