//! Reads a message as a command. A message that was delivered before may be one that takes the process down as it is
//! read, before any attempt is recorded: then its reading is recorded too, until one succeeds, and after two deaths more
//! it is put aside. A process records one reading at a time, so that few others are blamed when it dies of something
//! else. A message that is delivered for the first time, as nearly all are, pays nothing for that.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::attempt::UnderWay;
use super::{Engine, Error};
use crate::bus::{self, Attempts, DeadReason, Delivery, Settlement, Swap};
use crate::error::{Class, Classify, Problem};
use crate::event::{self, Command, CommandKey, Origin, Outcome};
use crate::failpoint::{Step, reach};
use crate::task::DynTask;

/// Deliveries from which on readings are recorded.
const RECORDED_FROM: u64 = 2;
/// Deaths in recorded readings before the message is put aside.
const DEATHS: u32 = 2;
/// Messages of which this process knows that it survives them.
const HARMLESS: usize = 4096;

/// A command that can be carried out.
pub(super) struct Readable<'a> {
    pub command: Command,
    pub task: &'a dyn DynTask,
    /// What it writes to, if anything.
    pub installation: Option<String>,
}

/// Why there is none, and whom to tell.
pub(super) type Unreadable = (Error, Option<Box<Origin>>);

/// What this process knows of readings that are recorded.
#[derive(Debug, Default)]
pub(super) struct Readings {
    /// Places in the queue of messages that were delivered several times and can be read.
    harmless: Mutex<HashSet<u64>>,
    /// Held by the one that is under way.
    alone: tokio::sync::Mutex<()>,
}

impl Readings {
    fn has(&self, sequence: u64) -> bool {
        self.harmless.lock().unwrap_or_else(PoisonError::into_inner).contains(&sequence)
    }

    fn add(&self, sequence: u64) {
        let mut known = self.harmless.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= HARMLESS {
            known.clear();
        }
        known.insert(sequence);
    }
}

/// Whether a recorded reading has succeeded: it was closed, and deaths before it were of something else.
fn was_read(record: &Attempts) -> bool {
    record.begun > 0 && !record.open && record.crashed == 0
}

impl Engine {
    /// Reads the message. `None` when it has been settled instead, or is left to who else reads it.
    pub(super) async fn read(
        &self,
        delivery: &Delivery,
        under_way: &UnderWay,
        received: Instant,
    ) -> Result<Option<Result<Readable<'_>, Unreadable>>, bus::Error> {
        if delivery.delivered < RECORDED_FROM || self.readings.has(delivery.sequence) {
            return self.read_now(delivery).await.map(Some);
        }
        let key = CommandKey::of_message(delivery.sequence);
        let (before, revision) = self.bus.attempts(&key).await?;
        if was_read(&before) {
            self.readings.add(delivery.sequence);
            return self.read_now(delivery).await.map(Some);
        }
        let crashed = before.crashed + u32::from(before.open);
        if crashed >= DEATHS {
            self.put_aside(delivery, crashed, received).await?;
            return Ok(None);
        }
        let _alone = self.readings.alone.lock().await;
        let record = Attempts {
            begun: before.begun + 1,
            runs: before.runs + 1,
            since: self.clock.now().unix_timestamp(),
            worker: self.settings.worker.clone(),
            open: true,
            crashed,
            ..Attempts::default()
        };
        under_way.begin(&key, record.runs);
        let Swap::Won(revision) = self.bus.record_attempts(&key, &record, revision).await? else {
            under_way.end();
            return Ok(None);
        };
        let read = self.read_now(delivery).await?;
        self.readings.add(delivery.sequence);
        let done = Attempts { open: false, crashed: 0, ..record };
        // Who was first has counted this as a death: the process lives, and takes it back.
        if self.bus.record_attempts(&key, &done, revision).await? == Swap::Lost {
            return Ok(None);
        }
        under_way.end();
        Ok(Some(read))
    }

    async fn read_now(&self, delivery: &Delivery) -> Result<Result<Readable<'_>, Unreadable>, bus::Error> {
        reach(Step::Received);
        match self.understand(delivery).await {
            Err((Error::Bus(error), _)) => Err(error),
            other => Ok(other),
        }
    }

    async fn understand(&self, delivery: &Delivery) -> Result<Readable<'_>, Unreadable> {
        let command = self.decode(delivery).await?;
        let wrong = |error: Error| (error, Some(Box::new(command.origin.clone())));
        let Some((task, validator)) = self.task(&command.origin.verb) else {
            let found = format!("{}.command.{}.v1", event::TYPE_PREFIX, command.origin.verb);
            return Err(wrong(event::Error::UnknownType { found }.into()));
        };
        if !self.clusters.knows(command.origin.target.as_str()) {
            return Err(wrong(Error::UnknownTarget { target: command.origin.target.to_string() }));
        }
        let checked = validator.check(&command.params).and_then(|()| {
            // What the schema cannot say, such as the form of a duration, the type does.
            let params = |reason| event::Error::Params { path: String::new(), reason };
            task.installation(&command.params).map_err(params)
        });
        let installation = checked.map_err(|error| wrong(error.into()))?;
        Ok(Readable { command, task, installation })
    }

    /// The message as a command, its parameters fetched where they are elsewhere.
    async fn decode(&self, delivery: &Delivery) -> Result<Command, Unreadable> {
        let Some((target, verb)) = &delivery.address else {
            let reason = format!("{:?} does not name a target and a verb", delivery.subject);
            return Err((event::Error::Attribute { name: "NATS subject".to_owned(), reason }.into(), None));
        };
        let mut command = event::decode(target, verb, &delivery.header_pairs(), &delivery.payload)
            .map_err(|rejection| (rejection.error.into(), rejection.origin))?;
        if let Some(dataref) = command.dataref.take() {
            command.params =
                self.fetch(&dataref).await.map_err(|error| (error, Some(Box::new(command.origin.clone()))))?;
        }
        Ok(command)
    }

    /// `nats-object://<bucket>/<sha256>`: the digest is the name, and is checked.
    async fn fetch(&self, dataref: &str) -> Result<serde_json::Value, Error> {
        let wrong = |reason: &str| event::Error::DataRef { dataref: dataref.to_owned(), reason: reason.to_owned() };
        let digest = event::dataref::digest(dataref)?;
        let bytes = match self.bus.blob(digest, event::dataref::MAX_BYTES).await {
            Err(error) if error.class() == Class::Terminal => return Err(wrong(&error.to_string()).into()),
            other => other?,
        };
        // Some MiB take long enough to keep heartbeats waiting.
        let named = digest.to_owned();
        let read =
            tokio::task::spawn_blocking(move || (event::dataref::is_of(&named, &bytes), event::json::read(&bytes)));
        let (is_it, value) = read.await.map_err(|error| wrong(&error.to_string()))?;
        if !is_it {
            return Err(wrong("the object has another digest").into());
        }
        value.map_err(|error| wrong(&format!("is not JSON: {error}")).into())
    }

    /// Nobody reads it again: a dead letter, and a result for a sender whom the headers name.
    async fn put_aside(&self, delivery: &Delivery, times: u32, received: Instant) -> Result<(), bus::Error> {
        let problem = Problem::new(&Error::DiesReading { times });
        let address = delivery.address.as_ref();
        let origin = address.and_then(|(target, verb)| event::sender(target, verb, &delivery.header_pairs()));
        tracing::warn!(code = problem.code, subject = delivery.subject, "put aside: {problem}");
        let (reason, outcome) = (DeadReason::Quarantined, Outcome::Failed);
        self.refuse(delivery, origin.as_ref(), (reason, outcome), problem, received).await?;
        Ok(())
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
        if let Some(origin) = origin
            && self.bus.has_result(&origin.target, &origin.key).await?
        {
            return self.settle_duplicate(delivery).await;
        }
        self.bury(delivery, origin, reason, &problem).await?;
        let verb = origin.and_then(|origin| self.task(&origin.verb)).map_or("unknown", |(task, _)| task.verb());
        let term = format!("{} {}", problem.code, problem.message);
        if let Some(origin) = origin {
            let result = event::ResultData {
                outcome,
                changed: false,
                report: None,
                error: Some(problem),
                attempts: 0,
                fence: 0,
                worker: self.settings.worker.clone(),
                ended: event::rfc3339(self.clock.now()),
            };
            self.commit(origin, &result).await?;
        }
        self.metrics.ended(verb, outcome.as_str(), received.elapsed());
        delivery.acker.settle(Settlement::Term(term)).await
    }
}
