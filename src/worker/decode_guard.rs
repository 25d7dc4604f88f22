//! Reads a message as a command. A message that was delivered before may be one that takes the process down as it is
//! read, before any attempt is recorded: then its reading is recorded too, until one succeeds, and after two deaths more
//! it is put aside. A process records one reading at a time, so that few others are blamed when it dies of something
//! else. A message that is delivered for the first time, as nearly all are, pays nothing for that.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use tokio::time::Instant;

use super::attempt::{CommandContext, InFlight, is_reused};
use super::{Engine, Error, provenance};
use crate::bus::{self, AttemptRecord, DeadReason, Delivery, Queue, RecordKey, Settlement, Swap};
use crate::error::{Class, Classify, Problem};
use crate::event::params::ParamsValidator;
use crate::event::{self, Command, Origin, Outcome, dataref};
use crate::failpoint::{Step, reach};
use crate::task::DynTask;

/// Deliveries from which on readings are recorded.
const RECORDED_FROM: u64 = 2;
/// Deaths in recorded readings before the message is put aside.
const MAX_CRASHES: u32 = 2;
/// Readings of which this process knows that it survives them.
const MAX_KNOWN: usize = 4096;

/// A message that has been read.
pub(super) enum Decoded<'a> {
    /// It is a command.
    Command(Box<DecodedCommand<'a>>),
    /// It is not, or one that cannot be carried out.
    Rejected(Undecodable),
    /// It needs nothing more: it has been settled, or another worker reads it.
    Settled,
}

/// A command that can be carried out, or could be if its parameters were there.
pub(super) struct DecodedCommand<'a> {
    pub command: Command,
    pub task: &'a dyn DynTask,
    /// `None` for a command whose parameters are in the object store.
    pub params: Option<Params>,
}

/// Parameters that fit the task's schema.
pub(super) struct Params {
    pub value: Value,
    /// What the command writes to, if anything.
    pub installation: Option<String>,
}

/// The parameters of a command.
pub(super) enum FetchedParams {
    /// They are valid; beside them the size of the object, bytes.
    Valid(Params, usize),
    /// They do not exist or are not valid.
    Rejected(Error),
    /// The command needs nothing more: it has been settled, or another worker reads it.
    Settled,
}

/// Why a message is not a command, and who can be told.
pub(super) type Undecodable = (Error, Option<Box<Origin>>);

/// A reading that was recorded where necessary.
enum Guarded<T> {
    Done(T),
    Settled,
}

/// What this process knows of readings that are recorded.
#[derive(Debug, Default)]
pub(super) struct DecodeGuard {
    /// Readings of messages that were delivered several times and can be read.
    known_decodable: Mutex<HashSet<RecordKey>>,
    /// Held by the one that is under way. Nothing is fetched meanwhile.
    alone: tokio::sync::Mutex<()>,
}

impl DecodeGuard {
    fn has(&self, reading: &RecordKey) -> bool {
        self.known_decodable.lock().unwrap_or_else(PoisonError::into_inner).contains(reading)
    }

    fn add(&self, reading: RecordKey) {
        let mut known = self.known_decodable.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(reading);
    }
}

/// Whether a recorded reading has succeeded: it was closed, and deaths before it were of something else.
fn decoded_before(record: &AttemptRecord) -> bool {
    record.attempts > 0 && !record.in_progress && record.crashes == 0
}

impl Engine {
    /// Reads the message as a command. Parameters in the object store are left for [`Engine::fetch_params`].
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
        let reading = RecordKey::message(delivery.queue, delivery.sequence);
        match self.guard_decoding(delivery, in_flight, reading, decode).await? {
            Ok(Guarded::Done(Ok(command))) => Ok(Decoded::Command(Box::new(command))),
            Ok(Guarded::Done(Err(unreadable))) => Ok(Decoded::Rejected(unreadable)),
            Ok(Guarded::Settled) => Ok(Decoded::Settled),
            Err(times) => {
                // Its headers name the sender in binary mode. The payload is not looked at.
                let address = delivery.address.as_ref();
                let origin = address.and_then(|(target, verb)| event::sender(target, verb, &delivery.header_pairs()));
                self.quarantine(delivery, origin.as_ref(), times, received).await?;
                Ok(Decoded::Settled)
            }
        }
    }

    /// Fetches the parameters of a command from the object store and reads them: `nats-object://<bucket>/<sha256>`. The
    /// digest is the name, and is checked.
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
            return Ok(FetchedParams::Rejected(
                wrong("the bucket is none of the parameter stores of the worker").into(),
            ));
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
            // Some MiB take long enough to keep heartbeats waiting.
            let read =
                tokio::task::spawn_blocking(move || (dataref::is_of(&digest, &bytes), event::json::read(&bytes)));
            let (is_it, value) = read.await.map_err(|error| wrong(&error.to_string()))?;
            if !is_it {
                return Err(wrong("the object has another digest").into());
            }
            let value = value.map_err(|error| wrong(&format!("is not JSON: {error}")))?;
            self.check(cx.task, value)
        };
        let reading = RecordKey::parameters(cx.delivery.queue, cx.delivery.sequence);
        match self.guard_decoding(cx.delivery, cx.in_flight, reading, read).await? {
            Ok(Guarded::Done(Ok(params))) => Ok(FetchedParams::Valid(params, size)),
            Ok(Guarded::Done(Err(error))) => Ok(FetchedParams::Rejected(error)),
            Ok(Guarded::Settled) => Ok(FetchedParams::Settled),
            Err(times) => {
                self.quarantine(cx.delivery, Some(&cx.command.origin), times, cx.received).await?;
                Ok(FetchedParams::Settled)
            }
        }
    }

    /// Carries out a reading, recorded from the second delivery of its message on. The inner error is the number of
    /// deaths in this reading, when they are too many to try again.
    async fn guard_decoding<T>(
        &self,
        delivery: &Delivery,
        in_flight: &InFlight,
        reading: RecordKey,
        read: impl Future<Output = T>,
    ) -> Result<Result<Guarded<T>, u32>, bus::Error> {
        if delivery.delivered < RECORDED_FROM || self.decode_guard.has(&reading) {
            return Ok(Ok(Guarded::Done(read.await)));
        }
        let (before, revision) = self.bus.attempts(&reading).await?;
        if decoded_before(&before) {
            self.decode_guard.add(reading);
            return Ok(Ok(Guarded::Done(read.await)));
        }
        let crashes = before.crashes + u32::from(before.in_progress);
        if crashes >= MAX_CRASHES {
            return Ok(Err(crashes));
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
        in_flight.begin(&reading, record.runs);
        let Swap::Won(revision) = self.bus.record_attempts(&reading, &record, revision).await? else {
            in_flight.end();
            return Ok(Ok(Guarded::Settled));
        };
        let done = read.await;
        self.decode_guard.add(reading.clone());
        let record = AttemptRecord { in_progress: false, crashes: 0, ..record };
        // Who was first has counted this as a death: the process lives, and takes it back.
        if self.bus.record_attempts(&reading, &record, revision).await? == Swap::Lost {
            return Ok(Ok(Guarded::Settled));
        }
        in_flight.end();
        Ok(Ok(Guarded::Done(done)))
    }

    /// The message as a command.
    pub(super) fn decode(&self, delivery: &Delivery) -> Result<DecodedCommand<'_>, Undecodable> {
        let Some((target, verb)) = &delivery.address else {
            let reason = format!("{:?} does not name a target and a verb", delivery.subject);
            return Err((event::Error::Attribute { name: "NATS subject".to_owned(), reason }.into(), None));
        };
        let decoded = event::decode(target, verb, &delivery.header_pairs(), &delivery.payload);
        let origin = match &decoded {
            Ok(command) => Some(&command.origin),
            Err(rejection) => rejection.origin.as_deref(),
        };
        let schedule = origin.map(|origin| self.bus.subjects().schedule(&origin.command()));
        let schedule = schedule.filter(|_| delivery.queue == Queue::Waiting);
        if let Err(error) = provenance::check(delivery.header_pairs(), schedule.as_deref()) {
            // Who has scheduled it need not have any right on this subject, so nothing is published about the command.
            let origin = origin.filter(|_| matches!(error, Error::ForbiddenHeader { .. }));
            return Err((error, origin.cloned().map(Box::new)));
        }
        let mut command = decoded.map_err(|rejection| (rejection.error.into(), rejection.origin))?;
        let wrong = |error: Error, origin: &Origin| (error, Some(Box::new(origin.clone())));
        let Some((task, _)) = self.task(&command.origin.verb) else {
            let found = format!("{}.command.{}.v1", event::TYPE_PREFIX, command.origin.verb);
            return Err(wrong(event::Error::UnknownType { found }.into(), &command.origin));
        };
        if !self.clusters.knows(command.origin.target.as_str()) {
            let error = Error::UnknownTarget { target: command.origin.target.to_string() };
            return Err(wrong(error, &command.origin));
        }
        if !self.clusters.allows_verb(command.origin.target.as_str(), task.verb()) {
            let (target, verb) = (command.origin.target.to_string(), task.verb().to_owned());
            return Err(wrong(Error::VerbNotAllowed { target, verb }, &command.origin));
        }
        let params = if command.dataref.is_some() {
            None
        } else {
            let value = std::mem::take(&mut command.params);
            Some(self.check(task, value).map_err(|error| wrong(error, &command.origin))?)
        };
        Ok(DecodedCommand { command, task, params })
    }

    /// Checks parameters against the schema of their task, and against its type.
    fn check(&self, task: &dyn DynTask, value: Value) -> Result<Params, Error> {
        if let Some(validator) = self.params.get(task.verb()) {
            let validator: &ParamsValidator = validator;
            validator.check(&value)?;
        }
        // What the schema cannot say, such as the form of a duration, the type does.
        let wrong = |reason| event::Error::Params { path: String::new(), reason };
        let installation = task.installation(&value).map_err(wrong)?;
        Ok(Params { value, installation })
    }

    /// Ends a message that nobody reads again: a dead letter, and a result for its sender where one is known.
    async fn quarantine(
        &self,
        delivery: &Delivery,
        origin: Option<&Origin>,
        times: u32,
        received: Instant,
    ) -> Result<(), bus::Error> {
        let problem = Problem::new(&Error::CrashesDecoding { times });
        tracing::warn!(code = problem.code, subject = delivery.subject, "put aside: {problem}");
        let (reason, outcome) = (DeadReason::Quarantined, Outcome::Failed);
        self.refuse(delivery, origin, (reason, outcome), problem, received).await
    }

    /// Answers what will not be begun: a dead letter for the operator, a result for the sender where one is known.
    pub(super) async fn refuse(
        &self,
        delivery: &Delivery,
        origin: Option<&Origin>,
        (reason, outcome): (DeadReason, Outcome),
        problem: Problem,
        received: Instant,
    ) -> Result<(), bus::Error> {
        let reply = match origin {
            Some(origin) => self.reply_state(origin).await?,
            None => ReplyState::Forbidden,
        };
        if reply == ReplyState::Published {
            return self.settle_duplicate(delivery).await;
        }
        // Nothing is published under the name of another command.
        let origin = origin.filter(|_| reply == ReplyState::Allowed);
        self.publish_dead_letter(delivery, origin, reason, &problem).await?;
        let verb = delivery.address.as_ref().and_then(|(_, verb)| self.task(verb));
        let term = format!("{} {}", problem.code, problem.message);
        if let Some(origin) = origin {
            let result = event::ResultData {
                outcome,
                changed: false,
                report: None,
                error: Some(problem),
                attempts: 0,
                earlier_attempts: Vec::new(),
                fence: 0,
                worker: self.settings.worker.clone(),
                ended: event::rfc3339(self.clock.now()),
            };
            self.commit(origin, &result).await?;
        }
        self.metrics.ended(verb.map_or("unknown", |(task, _)| task.verb()), outcome.as_str(), received.elapsed());
        delivery.acker.settle(Settlement::Term(term)).await
    }

    /// Whether a message that is not carried out may be answered with a result. A source and id that were read before
    /// belong to the command of that time.
    pub(super) async fn reply_state(&self, origin: &Origin) -> Result<ReplyState, bus::Error> {
        let command = origin.command();
        if let Some(found) = self.bus.find_result(&command).await? {
            let is_same = found.fingerprint == origin.fingerprint();
            return Ok(if is_same { ReplyState::Published } else { ReplyState::Forbidden });
        }
        let (record, _) = self.bus.attempts(&RecordKey::command(&command)).await?;
        Ok(if is_reused(&record, origin) { ReplyState::Forbidden } else { ReplyState::Allowed })
    }
}

/// What may be published about a message that is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReplyState {
    /// The result is there.
    Published,
    /// A result may be published.
    Allowed,
    /// Source and id are unknown, or belong to another command: nothing.
    Forbidden,
}
