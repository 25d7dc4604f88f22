//! What a worker does in the model, step by step as `worker::dispatch` does it. What becomes of an attempt record, of a
//! command after an attempt and of a delivery from a schedule is decided by the engine's own functions.

use std::time::Duration;

use sailhand::error::{Class, Problem};
use sailhand::event::Outcome;
use sailhand::worker::record::{self, Begin, Failed, Start};
use sailhand::worker::settle::{AttemptEnd, Decision, SettleInput, decide};
use sailhand::worker::{self, provenance};
use time::OffsetDateTime;

use super::model::{Protocol, TaskEnd, Way};
use super::rules::Rule;
use super::state::{
    ATTEMPTS, Body, Lease, Message, NAMES, Place, Record, Request, Scheduler, State, Step, Stored, Worker,
};

const OWN_SCHEDULE: &str = "istio.sched.dev.0123";
const FOREIGN_SCHEDULE: &str = "istio.cmd.dev.ping";

impl Protocol {
    /// Receives a message: provenance, decoding, an existing result, cancellation.
    pub(super) fn deliver(&self, state: &mut State, worker: usize, id: u8) {
        if state.workers[worker].step != Step::Idle {
            state.violations.waited_in_buffer = true;
            return;
        }
        let Some(message) = state.message(id) else { return };
        message.place = Place::Delivered;
        let received = message.clone();
        message.was_delivered = true;
        let is_honest = received.body == Body::Honest;
        let was_delivered = received.was_delivered;
        state.workers[worker] = Worker { message: id, is_honest, was_delivered, ..Worker::default() };
        let step = self.read(state, worker, &received);
        state.workers[worker].step = step;
    }

    fn read(&self, state: &mut State, worker: usize, message: &Message) -> Step {
        if message.body == Body::Malformed || self.keeps(Rule::SchedulesAreChecked) && is_foreign(message) {
            return Step::Refuse;
        }
        if message.body == Body::Forged {
            state.violations.effect_without_rights = true;
            return Step::Refuse;
        }
        let is_honest = message.body == Body::Honest;
        if let Some(result) = &state.result {
            let is_same = result.is_honest == is_honest || !self.keeps(Rule::FingerprintIsCompared);
            return if is_same { Step::Ack } else { Step::Refuse };
        }
        if !state.is_cancelled {
            return Step::AcquireLease;
        }
        if self.is_reused(state, is_honest) {
            return Step::Refuse;
        }
        if state.record.0.in_progress {
            state.workers[worker].is_given_up = true;
            return Step::AcquireLease;
        }
        conclude(state, worker, Outcome::Cancelled);
        Step::Commit
    }

    fn is_reused(&self, state: &State, is_honest: bool) -> bool {
        self.keeps(Rule::FingerprintIsCompared)
            && record::is_reused(&state.record.0, Some(&State::fingerprint(is_honest)))
    }

    /// The next step of a worker, for those that have one.
    pub(super) fn step(&self, state: &mut State, worker: usize, is_answer_lost: bool) {
        let own = state.workers[worker].clone();
        let next = match own.step {
            Step::AcquireLease => self.acquire(state, worker),
            Step::BeginAttempt => self.begin(state, worker, is_answer_lost),
            Step::CloseAttempt => {
                close(state, worker);
                Step::Requeue
            }
            Step::AckAfterSchedule => {
                state.remove(own.message);
                Step::ReleaseAfterRequeue
            }
            Step::ScheduleAfterAck => {
                schedule(state, own.is_honest);
                Step::ReleaseAfterRequeue
            }
            Step::Commit => {
                self.commit(state, &own);
                Step::Release
            }
            Step::Release => {
                release(state, worker);
                Step::Ack
            }
            Step::Refuse if self.keeps(Rule::LetterBeforeAck) => Step::AckRefused,
            Step::Refuse => {
                state.remove(own.message);
                Step::LetterAfterAck
            }
            Step::RollBack => {
                let rolled_back = record::roll_back(state.record.0.clone(), own.run, NAMES[worker]);
                if let Some(record) = rolled_back.filter(|_| self.keeps(Rule::AttemptIsRolledBack)) {
                    state.record = Record(record);
                }
                Step::Idle
            }
            Step::ReleaseAfterRequeue => {
                release(state, worker);
                Step::Idle
            }
            Step::Ack | Step::AckRefused => {
                state.remove(own.message);
                Step::Idle
            }
            Step::LetterAfterAck | Step::Idle => Step::Idle,
            Step::RunTask | Step::Requeue => own.step,
        };
        if next == Step::Idle {
            state.workers[worker] = Worker::default();
        } else {
            state.workers[worker].step = next;
        }
    }

    fn acquire(&self, state: &mut State, worker: usize) -> Step {
        let is_honest = state.workers[worker].is_honest;
        if state.lease.is_some() && self.keeps(Rule::LeaseHasOneHolder) {
            if self.keeps(Rule::IdIsBoundBeforeWaiting) {
                if self.is_reused(state, is_honest) {
                    return Step::Refuse;
                }
                state.record.0.fingerprint = Some(State::fingerprint(is_honest));
            }
            return Step::Requeue;
        }
        state.last_fence += 1;
        let fence = state.last_fence;
        state.lease = Some(Lease { worker, fence });
        state.workers[worker].fence = fence;
        if state.workers[worker].is_given_up {
            conclude(state, worker, Outcome::Cancelled);
            return Step::Commit;
        }
        Step::BeginAttempt
    }

    fn begin(&self, state: &mut State, worker: usize, is_answer_lost: bool) -> Step {
        let own = state.workers[worker].clone();
        if !self.is_reused(state, own.is_honest) && state.record.0.in_progress && state.result.is_some() {
            return Step::Release;
        }
        let fingerprint = match &state.record.0.fingerprint {
            Some(found) if !self.keeps(Rule::FingerprintIsCompared) => found.clone(),
            _ => State::fingerprint(own.is_honest),
        };
        let is_due = state.is_due || !self.keeps(Rule::CopiesWaitForTheNextAttempt);
        let mut before = state.record.0.clone();
        if !self.keeps(Rule::CrashesQuarantine) {
            (before.crashes, before.isolated_crashes) = (0, 0);
        }
        let start = Start {
            fingerprint: Some(fingerprint),
            read_only: false,
            worker: NAMES[worker],
            isolated: own.was_delivered && record::is_suspect(&before),
            redelivered: own.was_delivered,
            now: if is_due { epoch() + Duration::from_hours(1) } else { epoch() },
        };
        let record = match record::begin(&before, &start) {
            Begin::Attempt(record) => record,
            Begin::BackoffPending(wait) => {
                let early = SettleInput { backoff_left: Some(wait), ..self.settle_input(&own) };
                assert_eq!(decide(AttemptEnd::Failed(Class::Busy), early), Decision::Requeue(wait));
                return Step::Requeue;
            }
            Begin::Crashed(record) => {
                state.workers[worker].changed = record.changed();
                let Decision::Conclude { outcome, dead_letter: Some(_) } =
                    decide(AttemptEnd::Crashed, self.settle_input(&own))
                else {
                    unreachable!("crashes quarantine the command");
                };
                state.workers[worker].outcome = Some(outcome.as_str());
                return Step::Commit;
            }
            Begin::Reused => {
                release(state, worker);
                return Step::Refuse;
            }
        };
        state.violations.early_attempt |= state.record.0.not_before_ms.is_some() && !state.is_due;
        // One that comes too late for its lease may begin, but not write.
        state.violations.repeated_attempt |= !own.is_late
            && state.workers.iter().enumerate().any(|(other, found)| {
                let has_succeeded = found.outcome == Some(Outcome::Succeeded.as_str()) && found.run > 0;
                other != worker && found.step == Step::Commit && has_succeeded && !found.is_late
            });
        state.is_due = false;
        let mut own = Worker { run: record.runs, number: record.attempts, changed: record.changed(), ..own };
        if self.keeps(Rule::AttemptBeforeTask) {
            state.record = Record(record);
        }
        if is_answer_lost && !self.keeps(Rule::RepeatHasTheSameId) {
            // Its own attempt looks like that of another worker.
            if let Begin::Attempt(again) = record::begin(&state.record.0, &start) {
                own = Worker { run: again.runs, number: again.attempts, ..own };
                state.record = Record(again);
            }
        }
        state.workers[worker] = own;
        Step::RunTask
    }

    /// Sends the fence to the inventory, after the note that the attempt is about to write.
    pub(super) fn send_fence(&self, state: &mut State, worker: usize) {
        let run = state.workers[worker].run;
        if self.keeps(Rule::WritesAreAnnounced) {
            match record::record_write_start(&state.record.0, run) {
                Some(noted) => state.record = Record(noted),
                None if self.keeps(Rule::AttemptBeforeTask) => {
                    // Another attempt has begun.
                    state.workers[worker].is_late = true;
                    return;
                }
                None => {}
            }
        }
        state.workers[worker].request = Request::Fence;
    }

    pub(super) fn land(&self, state: &mut State, worker: usize) {
        let own = state.workers[worker].clone();
        state.workers[worker].request = match own.request {
            Request::Fence if self.store_fence(state, own.fence) => Request::FenceStored,
            Request::Fence => Request::FenceRefused,
            _ => {
                state.violations.overtaken_write |= own.fence < state.stored;
                let published = state.result.as_ref().map(|result| result.run);
                state.violations.write_after_result |= published == Some(own.run);
                state.has_written = true;
                Request::Written
            }
        };
    }

    /// Whether the inventory accepts the fence.
    pub(super) fn store_fence(&self, state: &mut State, fence: u8) -> bool {
        if fence < state.inventory && self.keeps(Rule::FenceIsCompared) {
            return false;
        }
        state.violations.overtaken_write |= fence < state.stored;
        state.inventory = fence;
        state.stored = fence.max(state.stored);
        true
    }

    /// Ends a task, and decides what becomes of the command.
    pub(super) fn end_task(&self, state: &mut State, worker: usize, end: TaskEnd) {
        let own = state.workers[worker].clone();
        let is_fenced = own.request == Request::FenceRefused;
        let end = match end {
            _ if own.is_late && self.keeps(Rule::GuardBeforeWrite) => AttemptEnd::Failed(Class::LostLease),
            TaskEnd::Fenced if self.keeps(Rule::ForeignFenceEnds) && state.holds_lease(worker) => {
                AttemptEnd::Failed(Class::RETRY)
            }
            TaskEnd::Done => AttemptEnd::Succeeded,
            TaskEnd::Failed => AttemptEnd::Failed(Class::RETRY),
            TaskEnd::Cancelled => AttemptEnd::Failed(Class::Cancelled),
            TaskEnd::Shutdown => AttemptEnd::Failed(Class::Shutdown),
            TaskEnd::Fenced | TaskEnd::LostLease => AttemptEnd::Failed(Class::LostLease),
        };
        if own.request == Request::Fence && end == AttemptEnd::Failed(Class::LostLease) {
            state.late_fences.push(own.fence);
            state.late_fences.sort_unstable();
            state.workers[worker].request = Request::None;
        }
        let next = &mut state.workers[worker];
        next.changed |= own.request != Request::None && !is_fenced;
        next.step = match decide(end, self.settle_input(&own)) {
            Decision::Conclude { outcome, .. } => {
                next.outcome = Some(outcome.as_str());
                Step::Commit
            }
            Decision::Retry(_) => {
                next.failed = true;
                Step::CloseAttempt
            }
            Decision::Requeue(_) | Decision::RequeueInTurn(_) => Step::CloseAttempt,
            Decision::Abandon => Step::RollBack,
        };
        let next = next.step;
        if next == Step::Commit && !self.keeps(Rule::LeaseUntilResult) {
            release(state, worker);
        }
        if next == Step::RollBack && !self.keeps(Rule::WithoutLeaseNoSettlement) {
            state.remove(own.message);
        }
    }

    pub(super) fn requeue(&self, state: &mut State, worker: usize, way: Way) {
        if way == Way::Schedule {
            state.budget.schedules -= 1;
        }
        let own = state.workers[worker].clone();
        state.workers[worker].step = match way {
            Way::Nak => {
                state.place(own.message, Place::Ready);
                Step::ReleaseAfterRequeue
            }
            Way::Schedule if self.keeps(Rule::ScheduleBeforeAck) => {
                schedule(state, own.is_honest);
                Step::AckAfterSchedule
            }
            Way::Schedule => {
                state.remove(own.message);
                Step::ScheduleAfterAck
            }
        };
    }

    /// Whether a command may wait in another message: its deliveries show that a process died of it.
    pub(super) fn may_schedule(&self, state: &State, worker: usize) -> bool {
        let shows_death = state.workers[worker].was_delivered && state.record.0.in_progress;
        state.budget.schedules > 0 && !(shows_death && self.keeps(Rule::DeliveriesAreKept))
    }

    fn commit(&self, state: &mut State, own: &Worker) {
        if state.result.is_some() {
            if self.keeps(Rule::ResultIsConditional) {
                return;
            }
            state.violations.replaced_result = true;
        }
        let outcome = own.outcome.unwrap_or(Outcome::Failed.as_str());
        state.result = Some(Stored { is_honest: own.is_honest, outcome, changed: own.changed, run: own.run });
    }

    fn settle_input(&self, own: &Worker) -> SettleInput {
        let max_attempts = if self.keeps(Rule::AttemptsAreLimited) { ATTEMPTS } else { u32::MAX };
        let (time_left, deliveries) = (Duration::from_hours(1), 1 + u64::from(own.was_delivered));
        SettleInput { attempt: own.number, max_attempts, time_left, deliveries, backoff_left: None }
    }
}

/// Whether the engine refuses the delivery because of the schedule that it came from.
fn is_foreign(message: &Message) -> bool {
    let scheduler = match message.scheduler {
        Scheduler::None => None,
        Scheduler::Own => Some(OWN_SCHEDULE),
        Scheduler::Foreign => Some(FOREIGN_SCHEDULE),
    };
    let headers = scheduler.map(|schedule| [("Nats-Scheduler", schedule), ("Nats-Schedule-Next", "purge")]);
    let headers = headers.iter().flatten().copied();
    let expected = Some(OWN_SCHEDULE).filter(|_| message.is_waiting_stream);
    matches!(provenance::check(headers, expected), Err(worker::Error::ForeignSchedule { .. }))
}

/// Ends a command that does not begin another attempt.
fn conclude(state: &mut State, worker: usize, outcome: Outcome) {
    let changed = state.record.0.changed();
    let own = &mut state.workers[worker];
    own.outcome = Some(outcome.as_str());
    own.changed = changed;
}

fn close(state: &mut State, worker: usize) {
    let own = state.workers[worker].clone();
    if own.run == 0 {
        return;
    }
    if state.record.0.runs != own.run {
        // Another attempt has begun, and may have counted this one as a crash.
        if let Some(record) = record::roll_back(state.record.0.clone(), own.run, NAMES[worker]) {
            state.record = Record(record);
        }
        return;
    }
    let problem = Problem {
        code: "SH3001".to_owned(),
        class: "retry".to_owned(),
        message: String::new(),
        causes: Vec::new(),
        remedy: String::new(),
    };
    let failed = Failed { problem: &problem, objects: &[], ended: epoch(), delay: Duration::from_secs(1) };
    let failed = own.failed.then_some(failed);
    state.record = Record(record::end(state.record.0.clone(), own.changed, failed));
    state.is_due = false;
}

/// Publishes the command as a schedule, which replaces another one of the same target, source and id.
fn schedule(state: &mut State, is_honest: bool) {
    state.messages.retain(|message| message.place != Place::Scheduled);
    let body = if is_honest { Body::Honest } else { Body::Reused };
    state.add(body, true, Scheduler::Own, Place::Scheduled);
}

fn release(state: &mut State, worker: usize) {
    if state.holds_lease(worker) {
        state.lease = None;
    }
    state.workers[worker].fence = 0;
}

pub fn epoch() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::from_hours(500_000)
}
