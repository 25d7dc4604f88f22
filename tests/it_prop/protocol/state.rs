//! The state of the bus, the cluster and the workers in the model.

use std::hash::{Hash, Hasher};

use sailhand::bus::AttemptRecord;
use sailhand::event::Fingerprint;

pub const WORKERS: usize = 2;
pub const NAMES: [&str; WORKERS] = ["w0", "w1"];
/// A fence above all that the bus gives.
pub const FOREIGN_FENCE: u8 = 200;
/// Attempts that the verb permits.
pub const ATTEMPTS: u32 = 2;

/// What a message has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Body {
    /// The command.
    Honest,
    /// Another command with the same target, source and id.
    Reused,
    /// A command on a target on which its sender has no rights.
    Forged,
    /// No command.
    Malformed,
}

/// The header by which the server names the schedule of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheduler {
    None,
    /// The subject on which workers schedule this command.
    Own,
    /// Another subject.
    Foreign,
}

/// Where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// A worker may take it.
    Ready,
    /// A worker has it, or had it.
    Delivered,
    /// The server publishes it again later.
    Scheduled,
    /// An administrator has terminated it; the server has published an advisory.
    Terminated,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Message {
    pub id: u8,
    pub body: Body,
    pub is_waiting_stream: bool,
    pub scheduler: Scheduler,
    pub place: Place,
    pub was_delivered: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stored {
    pub is_honest: bool,
    pub outcome: &'static str,
    pub changed: bool,
    /// The attempt that published it; 0 for one that no attempt did.
    pub run: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    pub worker: usize,
    pub fence: u8,
}

/// The attempt record of the engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record(pub AttemptRecord);

impl Hash for Record {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let record = &self.0;
        (record.attempts, record.runs, record.first_started_s, record.in_progress, record.isolated).hash(state);
        (record.crashes, record.isolated_crashes, record.changed, record.write_started).hash(state);
        (&self.0.worker, self.0.failed.len(), self.0.not_before_ms).hash(state);
        self.0.fingerprint.as_ref().map(|found| &found.verb).hash(state);
    }
}

/// The next step of a worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    #[default]
    Idle,
    AcquireLease,
    BeginAttempt,
    RunTask,
    CloseAttempt,
    Requeue,
    AckAfterSchedule,
    ScheduleAfterAck,
    ReleaseAfterRequeue,
    Commit,
    Release,
    Ack,
    RollBack,
    Refuse,
    AckRefused,
    LetterAfterAck,
}

/// A request to the API server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Request {
    #[default]
    None,
    /// The compare-and-swap that stores the fence in the inventory is on its way.
    Fence,
    FenceStored,
    FenceRefused,
    /// A write of an object is on its way.
    Write,
    Written,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(clippy::struct_excessive_bools, reason = "independent facts about one delivery")]
pub struct Worker {
    pub step: Step,
    pub message: u8,
    pub is_honest: bool,
    pub was_delivered: bool,
    /// It has been suspended: its lease and its delivery may have run out, and its guard permits no write.
    pub is_late: bool,
    /// Fence of its lease; 0 without one.
    pub fence: u8,
    /// Run of its attempt; 0 without one.
    pub run: u32,
    /// Number of its attempt.
    pub number: u32,
    pub request: Request,
    /// The command was cancelled before it began.
    pub is_given_up: bool,
    /// How the command ends.
    pub outcome: Option<&'static str>,
    pub changed: bool,
    pub failed: bool,
}

/// Faults and events that may still happen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    pub copies: u8,
    /// A command that is requeued after so many schedules waits by a NAK.
    pub schedules: u8,
    pub crashes: u8,
    pub suspensions: u8,
    pub failures: u8,
    pub shutdowns: u8,
    pub cancellations: u8,
    pub attacks: u8,
    pub terminations: u8,
    pub lost_answers: u8,
    /// Another writer raises the fence of the inventory above those of the bus.
    pub foreign_fences: u8,
}

/// Events that must not happen, noted as they do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools, reason = "one for each invariant that a single state does not show")]
pub struct Violations {
    pub waited_in_buffer: bool,
    pub overtaken_write: bool,
    pub replaced_result: bool,
    pub repeated_attempt: bool,
    pub early_attempt: bool,
    pub missing_letter: bool,
    pub write_after_result: bool,
    pub effect_without_rights: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct State {
    pub messages: Vec<Message>,
    pub record: Record,
    pub result: Option<Stored>,
    pub lease: Option<Lease>,
    /// The fence that was given last.
    pub last_fence: u8,
    /// The fence in the inventory.
    pub inventory: u8,
    /// The highest fence of a worker that the inventory has stored.
    pub stored: u8,
    /// An object has been written.
    pub has_written: bool,
    /// Fences of requests whose senders do not wait for them any more.
    pub late_fences: Vec<u8>,
    pub workers: [Worker; WORKERS],
    pub is_cancelled: bool,
    /// The next attempt is due.
    pub is_due: bool,
    pub budget: Budget,
    pub crashes: u8,
    /// Crashes under an open attempt.
    pub deaths: u8,
    /// A worker crashed between a schedule and the ack of its message: the command has two messages.
    pub is_copied: bool,
    pub suspensions: u8,
    pub shutdowns: u8,
    pub violations: Violations,
}

impl State {
    pub fn add(&mut self, body: Body, is_waiting_stream: bool, scheduler: Scheduler, place: Place) {
        let is_taken = |id: u8| {
            let is_held = self.workers.iter().any(|worker| worker.step != Step::Idle && worker.message == id);
            is_held || self.messages.iter().any(|message| message.id == id)
        };
        let id = (0..=u8::MAX).find(|id| !is_taken(*id)).unwrap();
        self.messages.push(Message { id, body, is_waiting_stream, scheduler, place, was_delivered: false });
        self.messages.sort();
    }

    pub fn message(&mut self, id: u8) -> Option<&mut Message> {
        self.messages.iter_mut().find(|message| message.id == id)
    }

    pub fn remove(&mut self, id: u8) {
        self.messages.retain(|message| message.id != id);
    }

    /// The server honors an ack of anyone who has had the message.
    pub fn place(&mut self, id: u8, place: Place) {
        if let Some(message) = self.message(id)
            && matches!(message.place, Place::Delivered | Place::Ready)
        {
            message.place = place;
        }
    }

    pub fn holds_lease(&self, worker: usize) -> bool {
        let fence = self.workers[worker].fence;
        fence > 0 && self.lease.as_ref().is_some_and(|lease| lease.fence == fence)
    }

    /// Makes states equal that differ in names only: fences keep their order, workers and messages are exchangeable.
    pub fn normalize(&mut self) {
        let mut fences: Vec<u8> = self.fences().map(|fence| *fence).collect();
        fences.sort_unstable();
        fences.dedup();
        fences.retain(|fence| *fence != 0 && *fence != FOREIGN_FENCE);
        let rank = |fence: u8| (1..).zip(&fences).find(|(_, known)| **known == fence).map_or(fence, |(rank, _)| rank);
        self.fences().for_each(|fence| *fence = rank(*fence));
        self.last_fence = fences.last().map_or(0, |last| rank(*last));
        if self.workers[0] > self.workers[1] {
            self.workers.swap(0, 1);
            if let Some(lease) = &mut self.lease {
                lease.worker = 1 - lease.worker;
            }
            if let Some(place) = NAMES.iter().position(|name| *name == self.record.0.worker) {
                NAMES[1 - place].clone_into(&mut self.record.0.worker);
            }
        }
    }

    fn fences(&mut self) -> impl Iterator<Item = &mut u8> {
        let lease = self.lease.iter_mut().map(|lease| &mut lease.fence);
        let workers = self.workers.iter_mut().map(|worker| &mut worker.fence);
        lease.chain(workers).chain(&mut self.late_fences).chain([&mut self.inventory, &mut self.stored])
    }

    /// What the honest command asks for.
    pub fn fingerprint(is_honest: bool) -> Fingerprint {
        let verb = if is_honest { "config.apply" } else { "ping" };
        Fingerprint { verb: verb.to_owned(), digest: String::new() }
    }
}
