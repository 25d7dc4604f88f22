//! What becomes of a command after an attempt: a pure table. Everything that the engine does at the end of a command
//! is decided here and nowhere else.

use std::time::Duration;

use crate::bus::DeadReason;
use crate::error::Class;
use crate::event::Outcome;
use crate::retry;

/// Panics of one task before the command is given up.
const PANICS: u32 = 2;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptEnd {
    /// It was done.
    Succeeded,
    /// It failed, with this class.
    Failed(Class),
    /// The task panicked, so many times by now.
    Panicked(u32),
    /// The process died under the command too often: it was not tried again.
    Crashed,
}

/// What is known beside the end.
#[derive(Debug, Clone, Copy)]
pub struct SettleInput {
    /// Attempts begun, this one included; 0 when none was.
    pub attempt: u32,
    /// Attempts allowed.
    pub attempts: u32,
    /// Time left to the command.
    pub left: Duration,
    /// Deliveries of the message, this one included.
    pub delivered: u64,
    /// Until the next attempt is due, when this came too early for it.
    pub wait: Option<Duration>,
}

/// What is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Publish the result, keep a dead letter where `dead` says so, then remove the message.
    Conclude {
        /// Of the result.
        outcome: Outcome,
        /// Why a person may want to replay it.
        dead: Option<DeadReason>,
    },
    /// Another attempt after the delay.
    Retry(Duration),
    /// Give the message back; this was no attempt.
    Requeue(Duration),
    /// The same, as long at least: others wait for the same thing.
    RequeueInTurn(Duration),
    /// Somebody else has the command: settle nothing (a stale settlement disturbs the new holder).
    Abandon,
}

/// The table.
#[must_use]
pub fn decide(end: AttemptEnd, input: SettleInput) -> Decision {
    let conclude = |outcome| Decision::Conclude { outcome, dead: None };
    let class = match end {
        AttemptEnd::Succeeded => return conclude(Outcome::Succeeded),
        AttemptEnd::Crashed => {
            return Decision::Conclude { outcome: Outcome::Failed, dead: Some(DeadReason::Quarantined) };
        }
        AttemptEnd::Panicked(times) if times >= PANICS => {
            return Decision::Conclude { outcome: Outcome::Failed, dead: Some(DeadReason::Exhausted) };
        }
        AttemptEnd::Panicked(_) => Class::RETRY,
        AttemptEnd::Failed(class) => class,
    };
    match class {
        Class::Terminal => conclude(Outcome::Failed),
        Class::Rejected => Decision::Conclude { outcome: Outcome::Rejected, dead: Some(DeadReason::Rejected) },
        Class::Superseded => conclude(Outcome::Superseded),
        Class::Cancelled => conclude(Outcome::Cancelled),
        Class::Expired => conclude(Outcome::Expired),
        Class::LostLease => Decision::Abandon,
        Class::Shutdown => Decision::Requeue(Duration::ZERO),
        Class::Busy => match input.wait {
            Some(due) => Decision::Requeue(due),
            None => Decision::RequeueInTurn(busy_delay(input.delivered)),
        },
        Class::Retry { after } => {
            let delay = retry::ATTEMPTS.delay(input.attempt, after);
            if input.attempt >= input.attempts || delay >= input.left {
                Decision::Conclude { outcome: Outcome::Failed, dead: Some(DeadReason::Exhausted) }
            } else {
                Decision::Retry(delay)
            }
        }
    }
}

/// Short at first, for short commands in a row; up to 5 s behind a long one. Jittered, so that waiters spread.
fn busy_delay(delivered: u64) -> Duration {
    let bound = Duration::from_millis(250) * 2u32.pow(u32::try_from(delivered.min(5)).unwrap_or(5));
    bound.min(Duration::from_secs(5)).mul_f64(rand::random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUT: SettleInput =
        SettleInput { attempt: 1, attempts: 8, left: Duration::from_hours(1), delivered: 1, wait: None };

    fn concluded(outcome: Outcome) -> Decision {
        Decision::Conclude { outcome, dead: None }
    }

    fn exhausted() -> Decision {
        Decision::Conclude { outcome: Outcome::Failed, dead: Some(DeadReason::Exhausted) }
    }

    #[test]
    fn every_class_has_its_end() {
        for (end, decision) in [
            (AttemptEnd::Succeeded, concluded(Outcome::Succeeded)),
            (AttemptEnd::Failed(Class::Terminal), concluded(Outcome::Failed)),
            (
                AttemptEnd::Failed(Class::Rejected),
                Decision::Conclude { outcome: Outcome::Rejected, dead: Some(DeadReason::Rejected) },
            ),
            (AttemptEnd::Failed(Class::Superseded), concluded(Outcome::Superseded)),
            (AttemptEnd::Failed(Class::Cancelled), concluded(Outcome::Cancelled)),
            (AttemptEnd::Failed(Class::Expired), concluded(Outcome::Expired)),
            (AttemptEnd::Failed(Class::LostLease), Decision::Abandon),
            (AttemptEnd::Failed(Class::Shutdown), Decision::Requeue(Duration::ZERO)),
            (AttemptEnd::Panicked(2), exhausted()),
            (AttemptEnd::Crashed, Decision::Conclude { outcome: Outcome::Failed, dead: Some(DeadReason::Quarantined) }),
        ] {
            assert_eq!(decide(end, INPUT), decision, "{end:?}");
        }
        assert!(matches!(decide(AttemptEnd::Panicked(1), INPUT), Decision::Retry(_)));
    }

    #[test]
    fn retry_is_bounded_by_attempts_and_by_time() {
        let retry = AttemptEnd::Failed(Class::RETRY);
        assert!(matches!(decide(retry, INPUT), Decision::Retry(delay) if delay <= Duration::from_secs(1)));
        assert_eq!(decide(retry, SettleInput { attempt: 8, ..INPUT }), exhausted());
        let asked = AttemptEnd::Failed(Class::Retry { after: Some(Duration::from_secs(90)) });
        assert!(matches!(decide(asked, INPUT), Decision::Retry(delay) if delay >= Duration::from_secs(90)));
        assert_eq!(decide(asked, SettleInput { left: Duration::from_mins(1), ..INPUT }), exhausted());
    }

    #[test]
    fn what_comes_before_the_next_attempt_is_due_waits_for_it() {
        let wait = Duration::from_secs(7);
        let input = SettleInput { wait: Some(wait), ..INPUT };
        assert_eq!(decide(AttemptEnd::Failed(Class::Busy), input), Decision::Requeue(wait));
    }

    #[test]
    fn busy_waits_longer_each_time_up_to_five_seconds() {
        for (delivered, least, most) in [(1, 250, 500), (3, 1000, 2000), (1000, 2500, 5000)] {
            let Decision::RequeueInTurn(delay) =
                decide(AttemptEnd::Failed(Class::Busy), SettleInput { delivered, ..INPUT })
            else {
                panic!("busy waits in line");
            };
            let range = Duration::from_millis(least)..=Duration::from_millis(most);
            assert!(range.contains(&delay), "{delivered}: {delay:?}");
        }
    }
}
