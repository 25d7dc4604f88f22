//! A model of one process that executes two commands: one kills the process in its first seconds, the other one is
//! innocent. Crash counts and quarantine are those of the engine.

use sailhand::worker::record::{self, Begin, Start};
use time::OffsetDateTime;

use super::explorer::{Invariant, Model};
use super::state::{Record, State as Protocol};

pub const INNOCENT: &str = "4 an innocent command is not quarantined";
pub const FEW_DEATHS: &str = "4 three deaths quarantine a command that causes them";

/// A rule of `worker::isolation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    SuspectsBeginAlone,
    OnlyDeathsAloneAreDecisive,
    SurvivalEndsTheSuspicion,
}

impl Rule {
    pub const ALL: [Self; 3] =
        [Self::SuspectsBeginAlone, Self::OnlyDeathsAloneAreDecisive, Self::SurvivalEndsTheSuspicion];
}

pub struct Isolation {
    pub broken: Option<Rule>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Phase {
    #[default]
    Queued,
    /// In its first seconds.
    Beginning,
    /// It has survived them.
    Running,
    Ended,
    Quarantined,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Command {
    phase: Phase,
    is_alone: bool,
    was_delivered: bool,
    record: Record,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct State {
    commands: [Command; 2],
    deaths: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Begin(usize),
    Survive,
    End,
    Die,
}

impl Isolation {
    fn keeps(&self, rule: Rule) -> bool {
        self.broken != Some(rule)
    }

    /// Whether the command begins alone; `None` while it has to wait for others that begin.
    fn begins_alone(&self, state: &State, command: usize) -> Option<bool> {
        let (own, other) = (&state.commands[command], &state.commands[1 - command]);
        let is_suspect = own.was_delivered && record::is_suspect(&own.record.0);
        let must_be_alone = is_suspect && self.keeps(Rule::SuspectsBeginAlone);
        let can_begin = other.phase != Phase::Beginning || !must_be_alone && !other.is_alone;
        can_begin.then_some(must_be_alone)
    }

    fn begin(&self, command: &mut Command, is_alone: bool) {
        if !self.keeps(Rule::OnlyDeathsAloneAreDecisive) {
            command.record.0.isolated_crashes = command.record.0.crashes;
            command.record.0.isolated = true;
        }
        let start = Start {
            fingerprint: Some(Protocol::fingerprint(true)),
            read_only: false,
            worker: "w",
            isolated: is_alone,
            redelivered: command.was_delivered,
            now: OffsetDateTime::UNIX_EPOCH,
        };
        match record::begin(&command.record.0, &start) {
            Begin::Attempt(record) => {
                *command = Command { phase: Phase::Beginning, is_alone, record: Record(record), ..command.clone() };
            }
            Begin::Crashed(_) => command.phase = Phase::Quarantined,
            Begin::BackoffPending(_) | Begin::Reused => unreachable!("one command without a delay"),
        }
    }
}

impl Model for Isolation {
    type State = State;
    type Action = Action;

    fn start(&self) -> State {
        State::default()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for command in 0..2 {
            if state.commands[command].phase == Phase::Queued && self.begins_alone(state, command).is_some() {
                actions.push(Action::Begin(command));
            }
        }
        match state.commands[0].phase {
            Phase::Beginning => actions.push(Action::Survive),
            Phase::Running => actions.push(Action::End),
            _ => {}
        }
        if state.commands[1].phase == Phase::Beginning {
            actions.push(Action::Die);
        }
    }

    fn next(&self, last: &State, action: Action) -> State {
        let mut state = last.clone();
        match action {
            Action::Begin(command) => {
                let is_alone = self.begins_alone(last, command) == Some(true);
                self.begin(&mut state.commands[command], is_alone);
            }
            Action::Survive => {
                let innocent = &mut state.commands[0];
                innocent.phase = Phase::Running;
                innocent.is_alone = false;
                if self.keeps(Rule::SurvivalEndsTheSuspicion) {
                    innocent.record.0.isolated = false;
                }
            }
            Action::End => state.commands[0].phase = Phase::Ended,
            Action::Die => {
                state.deaths += 1;
                for command in &mut state.commands {
                    if matches!(command.phase, Phase::Beginning | Phase::Running) {
                        command.phase = Phase::Queued;
                        command.is_alone = false;
                        command.was_delivered = true;
                    }
                }
            }
        }
        state
    }

    fn invariants(&self) -> Vec<Invariant<Self>> {
        let always = |name, holds: fn(&Self, &State) -> bool| Invariant { name, holds };
        vec![
            always(INNOCENT, |_, state| state.commands[0].phase != Phase::Quarantined),
            always(FEW_DEATHS, |_, state| state.deaths <= 3),
        ]
    }

    fn is_end(&self, state: &State) -> bool {
        state.commands.iter().all(|command| matches!(command.phase, Phase::Ended | Phase::Quarantined))
    }
}
