//! The rules of the protocol. The model breaks one rule at a time, and an invariant must then have a counterexample.

/// A rule, with the number of the invariant of ARCHITECTURE.md that it keeps. Identity has no number: it is a promise of
/// docs/threat-model.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    FreeSlotBeforePull,
    FenceIsCompared,
    GuardBeforeWrite,
    LeaseHasOneHolder,
    ResultIsConditional,
    AttemptBeforeTask,
    WritesAreAnnounced,
    LeaseUntilResult,
    AttemptIsRolledBack,
    CopiesWaitForTheNextAttempt,
    CrashesQuarantine,
    DeliveriesAreKept,
    ScheduleBeforeAck,
    WithoutLeaseNoSettlement,
    RepeatHasTheSameId,
    LetterBeforeAck,
    StrandedAreSwept,
    WriteIsAwaited,
    AttemptsAreLimited,
    ForeignFenceEnds,
    ProducersCannotSchedule,
    ProducersCannotRollUp,
    OnlyWorkersWriteWhereCommandsWait,
    SchedulesAreChecked,
    FingerprintIsCompared,
    IdIsBoundBeforeWaiting,
}

impl Rule {
    pub const ALL: [Self; 26] = [
        Self::FreeSlotBeforePull,
        Self::FenceIsCompared,
        Self::GuardBeforeWrite,
        Self::LeaseHasOneHolder,
        Self::ResultIsConditional,
        Self::AttemptBeforeTask,
        Self::WritesAreAnnounced,
        Self::LeaseUntilResult,
        Self::AttemptIsRolledBack,
        Self::CopiesWaitForTheNextAttempt,
        Self::CrashesQuarantine,
        Self::DeliveriesAreKept,
        Self::ScheduleBeforeAck,
        Self::WithoutLeaseNoSettlement,
        Self::RepeatHasTheSameId,
        Self::LetterBeforeAck,
        Self::StrandedAreSwept,
        Self::WriteIsAwaited,
        Self::AttemptsAreLimited,
        Self::ForeignFenceEnds,
        Self::ProducersCannotSchedule,
        Self::ProducersCannotRollUp,
        Self::OnlyWorkersWriteWhereCommandsWait,
        Self::SchedulesAreChecked,
        Self::FingerprintIsCompared,
        Self::IdIsBoundBeforeWaiting,
    ];

    /// The invariant that is violated without the rule.
    pub const fn invariant(self) -> &'static str {
        match self {
            Self::FreeSlotBeforePull => FREE_SLOTS,
            Self::FenceIsCompared | Self::GuardBeforeWrite | Self::LeaseHasOneHolder => FENCE,
            Self::ResultIsConditional => COMMIT_POINT,
            Self::AttemptBeforeTask => RECORDED,
            Self::WritesAreAnnounced => CHANGED,
            Self::LeaseUntilResult => NOT_REPEATED,
            Self::AttemptIsRolledBack | Self::RepeatHasTheSameId => CRASHES,
            Self::CopiesWaitForTheNextAttempt => DUE,
            Self::CrashesQuarantine => QUARANTINE,
            Self::DeliveriesAreKept => DEATHS,
            Self::ScheduleBeforeAck
            | Self::WithoutLeaseNoSettlement
            | Self::ProducersCannotRollUp
            | Self::ProducersCannotSchedule
            | Self::IdIsBoundBeforeWaiting => NOT_LOST,
            Self::LetterBeforeAck => LETTER,
            Self::StrandedAreSwept => ENDS,
            Self::WriteIsAwaited => WRITE_AWAITED,
            Self::AttemptsAreLimited | Self::ForeignFenceEnds => LIMITED,
            Self::OnlyWorkersWriteWhereCommandsWait | Self::SchedulesAreChecked => RIGHTS,
            Self::FingerprintIsCompared => IDENTITY,
        }
    }

    /// The faults with which the model finds that.
    pub const fn faults(self) -> &'static str {
        match self {
            Self::FreeSlotBeforePull | Self::LeaseHasOneHolder | Self::LeaseUntilResult => COPY_CRASH_FAILURE,
            Self::FenceIsCompared
            | Self::GuardBeforeWrite
            | Self::ResultIsConditional
            | Self::AttemptBeforeTask
            | Self::AttemptIsRolledBack
            | Self::WithoutLeaseNoSettlement => CRASH_SUSPENSION,
            Self::CrashesQuarantine | Self::DeliveriesAreKept => FOUR_CRASHES,
            Self::WritesAreAnnounced
            | Self::CopiesWaitForTheNextAttempt
            | Self::ScheduleBeforeAck
            | Self::RepeatHasTheSameId
            | Self::AttemptsAreLimited => FAILURES,
            Self::WriteIsAwaited => CANCELLATION,
            Self::LetterBeforeAck
            | Self::ProducersCannotSchedule
            | Self::ProducersCannotRollUp
            | Self::OnlyWorkersWriteWhereCommandsWait
            | Self::FingerprintIsCompared => ATTACKS,
            Self::IdIsBoundBeforeWaiting => REUSED_ID,
            Self::SchedulesAreChecked => MOVED_MESSAGE,
            Self::StrandedAreSwept => TERMINATION,
            Self::ForeignFenceEnds => FOREIGN_FENCE,
        }
    }
}

pub const FREE_SLOTS: &str = "1 no delivery waits in a buffer";
pub const FENCE: &str = "2 no write follows one with a higher fence";
pub const COMMIT_POINT: &str = "3 a result is not replaced";
pub const RECORDED: &str = "4 a task runs only in a recorded attempt";
pub const CHANGED: &str = "4 a result does not deny a write";
pub const NOT_REPEATED: &str = "4 no attempt begins between the end of another one and its result";
pub const CRASHES: &str = "4 only deaths count as crashes";
pub const DUE: &str = "4 no attempt begins before it is due";
pub const QUARANTINE: &str = "4 a command that kills workers is quarantined";
pub const DEATHS: &str = "4 each death under an attempt counts";
pub const NOT_LOST: &str = "5, 6 a command without a result is on the bus";
pub const LETTER: &str = "10 a refused message has a dead letter";
pub const WRITE_AWAITED: &str = "11 no write of an attempt follows its result";
pub const ENDS: &str = "12 a command can always end";
pub const LIMITED: &str = "12 attempts are limited";
pub const RIGHTS: &str = "14 no effect outside the rights of a producer";
pub const IDENTITY: &str = "identity: another command does not answer";

pub const CRASH_SUSPENSION: &str = "crash, suspension";
pub const COPY_SUSPENSION_FAILURE: &str = "copy, suspension, failure";
pub const COPY_CRASH_FAILURE: &str = "copy, crash, failure";
pub const COPY_CANCELLATION: &str = "copy, cancellation, crash";
pub const FOUR_CRASHES: &str = "four crashes";
pub const FAILURES: &str = "failures, crash, lost answer";
pub const CANCELLATION: &str = "cancellation, crash, suspension";
pub const ATTACKS: &str = "attacks, crash, failure";
pub const REUSED_ID: &str = "attack, failure, two schedules";
pub const MOVED_MESSAGE: &str = "moved message, attack";
pub const TERMINATION: &str = "termination, crash, failure";
pub const FOREIGN_FENCE: &str = "foreign fence, crash, failure";
pub const SHUTDOWNS: &str = "shutdowns, crash, suspension";
