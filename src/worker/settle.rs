//! Decides what happens to a command after an attempt: a pure table. The engine makes this decision nowhere else.

use std::time::Duration;

use crate::bus::DeadReason;
use crate::error::Class;
use crate::event::Outcome;
use crate::retry;

/// Panics of the task after which the command fails.
const MAX_PANICS: u32 = 2;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptEnd {
    /// The task succeeded.
    Succeeded,
    /// The task failed, or could not run, with an error of this class.
    Failed(Class),
    /// The task panicked. The number counts consecutive panics of the command, from 1.
    Panicked(u32),
    /// Too many processes crashed while they executed the command: there is no further attempt.
    Crashed,
}

/// Input of the decision beside the end of the attempt.
#[derive(Debug, Clone, Copy)]
pub struct SettleInput {
    /// Attempts started so far, this one included; 0 when none has started.
    pub attempt: u32,
    /// Attempts that the verb permits.
    pub max_attempts: u32,
    /// Until the deadline of the command.
    pub time_left: Duration,
    /// Deliveries of the message, this one included.
    pub deliveries: u64,
    /// Until the next attempt is due, for a delivery that arrived before that.
    pub backoff_left: Option<Duration>,
}

/// What the engine does with the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Publish the dead letter, if `dead_letter` has a reason for one, then the result, then acknowledge the message.
    Conclude {
        /// Outcome of the result.
        outcome: Outcome,
        /// Reason of the dead letter, which an operator can replay. `None` means that there is none.
        dead_letter: Option<DeadReason>,
    },
    /// Record the failure and start the next attempt after the delay.
    Retry(Duration),
    /// Deliver the message again after the delay. The attempt does not count.
    Requeue(Duration),
    /// As [`Decision::Requeue`], after at least this delay: several commands wait for the same target or installation.
    RequeueInTurn(Duration),
    /// Settle nothing, because another worker holds the lease: a settlement would affect its delivery.
    Abandon,
}

/// Decides by the end of the attempt, then by the class of its error.
#[must_use]
pub fn decide(end: AttemptEnd, input: SettleInput) -> Decision {
    let conclude = |outcome| Decision::Conclude { outcome, dead_letter: None };
    let fail = |reason| Decision::Conclude { outcome: Outcome::Failed, dead_letter: Some(reason) };
    let class = match end {
        AttemptEnd::Succeeded => return conclude(Outcome::Succeeded),
        AttemptEnd::Crashed => return fail(DeadReason::Quarantined),
        AttemptEnd::Panicked(times) if times >= MAX_PANICS => return fail(DeadReason::Exhausted),
        AttemptEnd::Panicked(_) => Class::RETRY,
        AttemptEnd::Failed(class) => class,
    };
    match class {
        Class::Terminal => conclude(Outcome::Failed),
        Class::Rejected => Decision::Conclude { outcome: Outcome::Rejected, dead_letter: Some(DeadReason::Rejected) },
        Class::Superseded => conclude(Outcome::Superseded),
        Class::Cancelled => conclude(Outcome::Cancelled),
        Class::Expired => conclude(Outcome::Expired),
        Class::LostLease => Decision::Abandon,
        Class::Shutdown => Decision::Requeue(Duration::ZERO),
        Class::Busy => match input.backoff_left {
            Some(delay) => Decision::Requeue(delay),
            None => Decision::RequeueInTurn(busy_delay(input.deliveries)),
        },
        Class::Retry { after } => {
            let delay = retry::ATTEMPTS.delay(input.attempt, after);
            if input.attempt >= input.max_attempts || delay >= input.time_left {
                fail(DeadReason::Exhausted)
            } else {
                Decision::Retry(delay)
            }
        }
    }
}

/// 250 to 500 ms after the first delivery, twice as long after each further one, at most 5 s. Random, so that commands that
/// wait for the same target are not checked at the same time.
fn busy_delay(deliveries: u64) -> Duration {
    let bound = Duration::from_millis(250) * 2u32.pow(u32::try_from(deliveries.min(5)).unwrap_or(5));
    bound.min(Duration::from_secs(5)).mul_f64(rand::random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUT: SettleInput = SettleInput {
        attempt: 1,
        max_attempts: 8,
        time_left: Duration::from_hours(1),
        deliveries: 1,
        backoff_left: None,
    };

    fn concluded(outcome: Outcome) -> Decision {
        Decision::Conclude { outcome, dead_letter: None }
    }

    fn failed(reason: DeadReason) -> Decision {
        Decision::Conclude { outcome: Outcome::Failed, dead_letter: Some(reason) }
    }

    #[test]
    fn each_class_has_its_decision() {
        for (end, decision) in [
            (AttemptEnd::Succeeded, concluded(Outcome::Succeeded)),
            (AttemptEnd::Failed(Class::Terminal), concluded(Outcome::Failed)),
            (
                AttemptEnd::Failed(Class::Rejected),
                Decision::Conclude { outcome: Outcome::Rejected, dead_letter: Some(DeadReason::Rejected) },
            ),
            (AttemptEnd::Failed(Class::Superseded), concluded(Outcome::Superseded)),
            (AttemptEnd::Failed(Class::Cancelled), concluded(Outcome::Cancelled)),
            (AttemptEnd::Failed(Class::Expired), concluded(Outcome::Expired)),
            (AttemptEnd::Failed(Class::LostLease), Decision::Abandon),
            (AttemptEnd::Failed(Class::Shutdown), Decision::Requeue(Duration::ZERO)),
            (AttemptEnd::Panicked(2), failed(DeadReason::Exhausted)),
            (AttemptEnd::Crashed, failed(DeadReason::Quarantined)),
        ] {
            assert_eq!(decide(end, INPUT), decision, "{end:?}");
        }
        assert!(matches!(decide(AttemptEnd::Panicked(1), INPUT), Decision::Retry(_)));
    }

    #[test]
    fn retries_are_limited_in_number_and_time() {
        let retry = AttemptEnd::Failed(Class::RETRY);
        assert!(matches!(decide(retry, INPUT), Decision::Retry(delay) if delay <= Duration::from_secs(1)));
        assert_eq!(decide(retry, SettleInput { attempt: 8, ..INPUT }), failed(DeadReason::Exhausted));
        let retry_after = AttemptEnd::Failed(Class::Retry { after: Some(Duration::from_secs(90)) });
        assert!(matches!(decide(retry_after, INPUT), Decision::Retry(delay) if delay >= Duration::from_secs(90)));
        let short = SettleInput { time_left: Duration::from_mins(1), ..INPUT };
        assert_eq!(decide(retry_after, short), failed(DeadReason::Exhausted));
    }

    #[test]
    fn delivery_before_the_next_attempt_is_due_waits_for_it() {
        let backoff = Duration::from_secs(7);
        let input = SettleInput { backoff_left: Some(backoff), ..INPUT };
        assert_eq!(decide(AttemptEnd::Failed(Class::Busy), input), Decision::Requeue(backoff));
    }

    #[test]
    fn busy_delay_doubles_up_to_five_seconds() {
        for (deliveries, least, most) in [(1, 250, 500), (3, 1000, 2000), (1000, 2500, 5000)] {
            let decision = decide(AttemptEnd::Failed(Class::Busy), SettleInput { deliveries, ..INPUT });
            let Decision::RequeueInTurn(delay) = decision else {
                panic!("a busy target is a reason to requeue: {decision:?}");
            };
            let range = Duration::from_millis(least)..=Duration::from_millis(most);
            assert!(range.contains(&delay), "{deliveries}: {delay:?}");
        }
    }
}
