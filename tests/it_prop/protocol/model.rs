//! The model: what may happen next, and the invariants.

use sailhand::event::Outcome;

use super::explorer::{Invariant, Model};
use super::rules::{self, Rule};
use super::state::{
    ATTEMPTS, Body, Budget, FOREIGN_FENCE, Place, Request, Scheduler, State, Step, Stored, WORKERS, Worker,
};

/// The protocol with a bounded number of faults. It keeps all rules but one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Protocol {
    pub broken: Option<Rule>,
    pub budget: Budget,
    /// `sailhand topology apply` has moved the message of a foreign schedule from an earlier installation.
    pub is_migrated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Nak,
    Schedule,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskEnd {
    Done,
    Failed,
    Fenced,
    Cancelled,
    Shutdown,
    LostLease,
}

/// What a producer does that is not the sender of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// Sends another command with the same target, source and id.
    Reuse,
    /// Sends what is no command.
    Malformed,
    /// Sends `Nats-Rollup: sub`.
    RollUp,
    /// Sends a schedule for a subject on which it has no rights. It implies a roll-up.
    Carrier,
    /// Writes to the waiting stream.
    WriteWaiting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Deliver(usize, u8),
    Step(usize),
    StepLosingAnswer(usize),
    SendFence(usize),
    SendWrite(usize),
    Land(usize),
    LateFence(u8),
    End(usize, TaskEnd),
    Requeue(usize, Way),
    LeaseExpires,
    AckWaitEnds(u8),
    Due(u8),
    DelayEnds,
    Sweep(u8),
    Copy,
    Crash(usize),
    Suspend(usize),
    Cancel,
    Attack(Attack),
    Terminate(u8),
    RaiseFence,
}

impl Protocol {
    pub(super) fn keeps(&self, rule: Rule) -> bool {
        self.broken != Some(rule)
    }

    /// What happens without another fault.
    fn progress(&self, state: &State, actions: &mut Vec<Action>) {
        for worker in 0..WORKERS {
            self.work(state, worker, actions);
        }
        actions.extend(state.late_fences.iter().map(|fence| Action::LateFence(*fence)));
        if let Some(lease) = &state.lease {
            let holder = &state.workers[lease.worker];
            // A write that is on its way arrives within the margin of the guard.
            let is_kept = holder.fence == lease.fence && (!holder.is_late || holder.request == Request::Write);
            if !is_kept {
                actions.push(Action::LeaseExpires);
            }
        }
        for message in &state.messages {
            match message.place {
                Place::Delivered => {
                    let is_held = state
                        .workers
                        .iter()
                        .any(|worker| worker.step != Step::Idle && worker.message == message.id && !worker.is_late);
                    if !is_held {
                        actions.push(Action::AckWaitEnds(message.id));
                    }
                }
                Place::Scheduled => actions.push(Action::Due(message.id)),
                Place::Terminated if self.keeps(Rule::StrandedAreSwept) => actions.push(Action::Sweep(message.id)),
                Place::Terminated | Place::Ready => {}
            }
        }
        if state.record.0.not_before_ms.is_some() && !state.is_due && state.result.is_none() {
            actions.push(Action::DelayEnds);
        }
    }

    fn work(&self, state: &State, worker: usize, actions: &mut Vec<Action>) {
        let own = &state.workers[worker];
        if own.step == Step::Idle || !self.keeps(Rule::FreeSlotBeforePull) {
            let ready = state.messages.iter().filter(|message| message.place == Place::Ready);
            actions.extend(ready.map(|message| Action::Deliver(worker, message.id)));
        }
        if matches!(own.request, Request::Fence | Request::Write) {
            actions.push(Action::Land(worker));
        }
        match own.step {
            Step::Idle => {}
            Step::RunTask => self.run(state, worker, actions),
            Step::Requeue => {
                actions.push(Action::Requeue(worker, Way::Nak));
                if self.may_schedule(state, worker) {
                    actions.push(Action::Requeue(worker, Way::Schedule));
                }
            }
            _ => actions.push(Action::Step(worker)),
        }
    }

    fn run(&self, state: &State, worker: usize, actions: &mut Vec<Action>) {
        let (own, budget) = (&state.workers[worker], &state.budget);
        let is_awaited = matches!(own.request, Request::Fence | Request::Write);
        let is_stopped = own.is_late && self.keeps(Rule::GuardBeforeWrite);
        if is_stopped {
            if own.request != Request::Write {
                actions.push(Action::End(worker, TaskEnd::LostLease));
            }
            return;
        }
        match own.request {
            Request::None if !state.is_cancelled => actions.push(Action::SendFence(worker)),
            Request::FenceStored if !state.is_cancelled => actions.push(Action::SendWrite(worker)),
            Request::FenceRefused => actions.push(Action::End(worker, TaskEnd::Fenced)),
            Request::Written => actions.push(Action::End(worker, TaskEnd::Done)),
            _ => {}
        }
        if state.is_cancelled && (!is_awaited || !self.keeps(Rule::WriteIsAwaited)) {
            actions.push(Action::End(worker, TaskEnd::Cancelled));
        }
        if budget.failures > 0 && !is_awaited {
            actions.push(Action::End(worker, TaskEnd::Failed));
        }
        if budget.shutdowns > 0 && !is_awaited {
            actions.push(Action::End(worker, TaskEnd::Shutdown));
        }
    }

    fn faults(&self, state: &State, actions: &mut Vec<Action>) {
        let budget = &state.budget;
        for (worker, own) in state.workers.iter().enumerate().filter(|(_, own)| own.step != Step::Idle) {
            if budget.crashes > 0 {
                actions.push(Action::Crash(worker));
            }
            if budget.suspensions > 0 && !own.is_late {
                actions.push(Action::Suspend(worker));
            }
            if budget.lost_answers > 0 && own.step == Step::BeginAttempt {
                actions.push(Action::StepLosingAnswer(worker));
            }
        }
        if budget.copies > 0 && state.messages.len() < 3 {
            actions.push(Action::Copy);
        }
        if budget.cancellations > 0 {
            actions.push(Action::Cancel);
        }
        if budget.foreign_fences > 0 {
            actions.push(Action::RaiseFence);
        }
        // Of several messages of a command, another one may be executed when one is terminated.
        let is_only = state.messages.iter().filter(|message| message.body == Body::Honest).count() == 1;
        if budget.terminations > 0 && is_only {
            let ready = state.messages.iter().filter(|message| message.place == Place::Ready);
            actions.extend(ready.map(|message| Action::Terminate(message.id)));
        }
        if budget.attacks > 0 {
            self.attacks(state, actions);
        }
    }

    fn attacks(&self, state: &State, actions: &mut Vec<Action>) {
        // Before the command is bound, the contract gives source and id to the first command that is read.
        let is_bound = state.record.0.fingerprint == Some(State::fingerprint(true)) || state.result.is_some();
        let possible = [
            (Attack::Reuse, is_bound),
            (Attack::Malformed, true),
            (Attack::RollUp, !self.keeps(Rule::ProducersCannotRollUp)),
            (Attack::Carrier, !self.keeps(Rule::ProducersCannotSchedule)),
            (Attack::WriteWaiting, !self.keeps(Rule::OnlyWorkersWriteWhereCommandsWait)),
        ];
        actions
            .extend(possible.iter().filter(|(_, is_possible)| *is_possible).map(|(attack, _)| Action::Attack(*attack)));
    }

    fn attack(state: &mut State, attack: Attack) {
        state.budget.attacks -= 1;
        match attack {
            Attack::Reuse => state.add(Body::Reused, false, Scheduler::None, Place::Ready),
            Attack::Malformed => state.add(Body::Malformed, false, Scheduler::None, Place::Ready),
            Attack::RollUp | Attack::Carrier => {
                state.messages.retain(|message| message.is_waiting_stream);
            }
            Attack::WriteWaiting => state.add(Body::Forged, true, Scheduler::Own, Place::Ready),
        }
    }

    fn fault(&self, state: &mut State, action: Action) {
        match action {
            Action::Copy => {
                state.budget.copies -= 1;
                state.add(Body::Honest, false, Scheduler::None, Place::Ready);
            }
            Action::Crash(worker) => crash(state, worker),
            Action::Suspend(worker) => {
                state.budget.suspensions -= 1;
                state.suspensions += 1;
                state.workers[worker].is_late = true;
            }
            Action::StepLosingAnswer(worker) => {
                state.budget.lost_answers -= 1;
                self.step(state, worker, true);
            }
            Action::Cancel => {
                state.budget.cancellations -= 1;
                state.is_cancelled = true;
            }
            Action::RaiseFence => {
                state.budget.foreign_fences -= 1;
                state.inventory = FOREIGN_FENCE;
            }
            Action::Terminate(id) => {
                state.budget.terminations -= 1;
                state.place(id, Place::Terminated);
            }
            Action::Attack(attack) => Self::attack(state, attack),
            _ => unreachable!("{action:?} is no fault"),
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn start(&self) -> State {
        let mut state = State { budget: self.budget, ..State::default() };
        state.add(Body::Honest, false, Scheduler::None, Place::Ready);
        if self.is_migrated {
            state.add(Body::Forged, true, Scheduler::Foreign, Place::Ready);
        }
        state
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.progress(state, actions);
        self.faults(state, actions);
    }

    fn next(&self, last: &State, action: Action) -> State {
        let mut state = last.clone();
        match action {
            Action::Deliver(worker, id) => self.deliver(&mut state, worker, id),
            Action::Step(worker) => self.step(&mut state, worker, false),
            Action::SendFence(worker) => self.send_fence(&mut state, worker),
            Action::SendWrite(worker) => state.workers[worker].request = Request::Write,
            Action::Land(worker) => self.land(&mut state, worker),
            Action::LateFence(fence) => {
                state.late_fences.retain(|found| *found != fence);
                self.store_fence(&mut state, fence);
            }
            Action::End(worker, end) => {
                match end {
                    TaskEnd::Failed => state.budget.failures -= 1,
                    TaskEnd::Shutdown => {
                        state.budget.shutdowns -= 1;
                        state.shutdowns += 1;
                    }
                    _ => {}
                }
                self.end_task(&mut state, worker, end);
            }
            Action::Requeue(worker, way) => self.requeue(&mut state, worker, way),
            Action::LeaseExpires => state.lease = None,
            Action::AckWaitEnds(id) => state.place(id, Place::Ready),
            Action::Due(id) => {
                if let Some(message) = state.message(id) {
                    message.place = Place::Ready;
                }
            }
            Action::DelayEnds => state.is_due = true,
            Action::Sweep(id) => sweep(&mut state, id),
            fault => self.fault(&mut state, fault),
        }
        state.normalize();
        state
    }

    fn invariants(&self) -> Vec<Invariant<Self>> {
        vec![
            always(rules::FREE_SLOTS, |_, state| !state.violations.waited_in_buffer),
            always(rules::FENCE, |_, state| !state.violations.overtaken_write),
            always(rules::COMMIT_POINT, |_, state| !state.violations.replaced_result),
            always(rules::RECORDED, |_, state| {
                state.workers.iter().all(|worker| worker.step != Step::RunTask || worker.run <= state.record.0.runs)
            }),
            always(rules::CHANGED, |_, state| {
                state.result.as_ref().is_none_or(|result| result.changed || !state.has_written)
            }),
            always(rules::NOT_REPEATED, |_, state| !state.violations.repeated_attempt),
            always(rules::CRASHES, |_, state| {
                // Those that live and have not rolled their attempts back yet.
                let runs = state.record.0.runs;
                let is_overtaken = |worker: &&Worker| worker.is_late || worker.run > 0 && worker.run < runs;
                let overtaken = state.workers.iter().filter(is_overtaken).count();
                state.result.is_some()
                    || state.record.0.crashes <= u32::from(state.crashes) + u32::try_from(overtaken).unwrap()
            }),
            always(rules::DUE, |_, state| !state.violations.early_attempt),
            always(rules::QUARANTINE, |model, state| !model.counts_exactly(state) || state.deaths <= 3),
            always(rules::DEATHS, |model, state| {
                let counted = state.record.0.crashes + u32::from(state.record.0.in_progress);
                !model.counts_exactly(state)
                    || model.broken == Some(Rule::CrashesQuarantine)
                    || u32::from(state.deaths) <= counted
            }),
            always(rules::NOT_LOST, |_, state| {
                state.result.is_some() || state.messages.iter().any(|message| message.body == Body::Honest)
            }),
            always(rules::LETTER, |_, state| !state.violations.missing_letter),
            always(rules::WRITE_AWAITED, |_, state| !state.violations.write_after_result),
            always(rules::LIMITED, |_, state| {
                // One that is suspended as it begins an attempt makes the next lease holder lose its attempt too.
                let extra = state.crashes + 2 * state.suspensions + state.shutdowns;
                state.record.0.runs <= ATTEMPTS + u32::from(extra)
            }),
            always(rules::RIGHTS, |_, state| !state.violations.effect_without_rights),
            always(rules::IDENTITY, |_, state| state.result.as_ref().is_none_or(|result| result.is_honest)),
        ]
    }

    /// Nothing is left to do.
    fn is_end(&self, state: &State) -> bool {
        let is_idle = state.workers.iter().all(|worker| worker.step == Step::Idle);
        is_idle && state.result.is_some() && state.messages.is_empty() && state.lease.is_none()
    }
}

fn always(name: &'static str, holds: fn(&Protocol, &State) -> bool) -> Invariant<Protocol> {
    Invariant { name, holds }
}

impl Protocol {
    /// A copy of the message that begins while the record is open counts no crash: the first copy may still run.
    const fn counts_exactly(&self, state: &State) -> bool {
        self.budget.copies == 0 && self.budget.suspensions == 0 && !state.is_copied
    }
}

fn crash(state: &mut State, worker: usize) {
    state.budget.crashes -= 1;
    state.crashes += 1;
    let own = std::mem::take(&mut state.workers[worker]);
    let record = &state.record.0;
    if own.run > 0 && record.in_progress && record.runs == own.run && state.result.is_none() {
        state.deaths += 1;
    }
    if own.request == Request::Fence {
        state.late_fences.push(own.fence);
        state.late_fences.sort_unstable();
    }
    state.violations.missing_letter |= own.step == Step::LetterAfterAck;
    state.is_copied |= own.step == Step::AckAfterSchedule;
}

/// Ends a command that the bus does not deliver again: dead letter, result, then the message goes.
fn sweep(state: &mut State, id: u8) {
    let body = state.message(id).map(|message| message.body);
    let changed = state.record.0.changed();
    if body == Some(Body::Honest) && state.result.is_none() {
        state.result = Some(Stored { is_honest: true, outcome: Outcome::Failed.as_str(), changed, run: 0 });
    }
    state.remove(id);
}
