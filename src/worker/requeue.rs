//! Decides how long and where commands wait that cannot start yet: for a paused target, a slot of the target, an
//! installation that is in use, or the next attempt. Waiting commands must neither fill the consumer's `max_ack_pending`,
//! which would block the delivery of all others, nor occupy the workers with checking them. Knows what is waited for by
//! name only.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Upper bound of checks per second of the commands that wait for the same thing. Three quarters of 64 slots process about
/// 480 commands per second when each takes 100 ms, so a queue whose commands can start is not delayed by the bound.
const CHECKS_PER_SECOND: u32 = 500;
/// Longest delay of a NAK. The server counts a command with a delayed NAK as pending, and a cancellation does not end it
/// before the delay is over.
pub(super) const MAX_NAK_DELAY: Duration = Duration::from_secs(10);
/// Commands with a delayed NAK, for each slot of the worker.
const NAKS_PER_SLOT: usize = 8;
/// Shortest delay for which a schedule is worth its writes.
const MIN_SCHEDULE_DELAY: Duration = Duration::from_secs(5);
/// Number of queues above which those without waiting commands are removed.
const MAX_QUEUES: usize = 1024;

/// How a command waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequeueVia {
    /// In the consumer, by a NAK with this delay: one small message.
    Nak(Duration),
    /// As a message schedule with this delay: the message is published again, but does not count as pending.
    Schedule(Duration),
}

/// Commands that this worker has requeued.
#[derive(Debug)]
pub(super) struct RequeuePacer {
    /// Upper bound of `naks`.
    max_naks: usize,
    /// When the commands with a delayed NAK are delivered again.
    naks: Mutex<BinaryHeap<Reverse<Instant>>>,
    /// For each thing that commands wait for: when the next of them may be checked.
    queues: Mutex<HashMap<String, Instant>>,
}

impl RequeuePacer {
    pub fn new(slots: usize) -> Self {
        Self { max_naks: slots * NAKS_PER_SLOT, naks: Mutex::default(), queues: Mutex::default() }
    }

    /// Delay of a command that waits for `what`: at least `least`, and longer when so many wait for it that more than
    /// [`CHECKS_PER_SECOND`] would be checked each second. They are delivered one after the other.
    pub fn turn_delay(&self, what: &str, least: Duration) -> Duration {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if queues.len() >= MAX_QUEUES {
            queues.retain(|_, due| *due > now);
        }
        let due = queues.get(what).map_or(now, |due| *due.max(&now));
        queues.insert(what.to_owned(), due + Duration::from_secs(1) / CHECKS_PER_SECOND);
        least.max(due - now)
    }

    /// How a command waits for this delay.
    pub fn via(&self, delay: Duration) -> RequeueVia {
        if delay.is_zero() || delay < MAX_NAK_DELAY && self.reserve_nak(delay) {
            RequeueVia::Nak(delay)
        } else {
            RequeueVia::Schedule(delay.max(MIN_SCHEDULE_DELAY))
        }
    }

    /// Counts one more command with a delayed NAK. False when there are too many.
    fn reserve_nak(&self, delay: Duration) -> bool {
        let mut naks = self.naks.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while naks.peek().is_some_and(|Reverse(due)| *due <= now) {
            naks.pop();
        }
        let is_free = naks.len() < self.max_naks;
        if is_free {
            naks.push(Reverse(now + delay));
        }
        is_free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Duration = Duration::from_millis(300);

    #[tokio::test(start_paused = true)]
    async fn few_waiting_commands_get_the_least_delay() {
        let pacer = RequeuePacer::new(1);
        for _ in 0..1000 {
            assert_eq!(pacer.turn_delay("a", LEAST), LEAST);
            tokio::time::advance(Duration::from_millis(2)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_commands_are_checked_at_a_bounded_rate_and_delay_no_other_queue() {
        let pacer = RequeuePacer::new(1);
        let delays: Vec<_> = (0..100_000).map(|_| pacer.turn_delay("a", LEAST)).collect();
        assert!(delays.is_sorted());
        assert_eq!(delays.last().unwrap().as_secs(), 199);
        assert_eq!(pacer.turn_delay("b", LEAST), LEAST);
        // Those that are delivered again wait as long, while there are so many.
        tokio::time::advance(Duration::from_secs(1)).await;
        let again: Vec<_> = (0..500).map(|_| pacer.turn_delay("a", LEAST)).collect();
        assert_eq!(again.last().unwrap().as_secs(), 199);
        // An empty queue has no delay.
        tokio::time::advance(Duration::from_secs(200)).await;
        assert_eq!(pacer.turn_delay("a", LEAST), LEAST);
    }

    #[tokio::test(start_paused = true)]
    async fn delayed_naks_are_bounded_by_the_slots() {
        let pacer = RequeuePacer::new(1);
        for _ in 0..NAKS_PER_SLOT {
            assert_eq!(pacer.via(LEAST), RequeueVia::Nak(LEAST));
        }
        assert_eq!(pacer.via(LEAST), RequeueVia::Schedule(MIN_SCHEDULE_DELAY));
        assert_eq!(pacer.via(Duration::ZERO), RequeueVia::Nak(Duration::ZERO), "a NAK without delay does not wait");
        tokio::time::advance(LEAST).await;
        assert_eq!(pacer.via(MAX_NAK_DELAY), RequeueVia::Schedule(MAX_NAK_DELAY));
        assert_eq!(pacer.via(LEAST), RequeueVia::Nak(LEAST), "the delays are over");
    }

    #[tokio::test(start_paused = true)]
    async fn queues_without_waiting_commands_are_removed() {
        let pacer = RequeuePacer::new(1);
        for number in 0..10_000 {
            pacer.turn_delay(&number.to_string(), LEAST);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!(pacer.queues.lock().unwrap().len() <= MAX_QUEUES);
    }
}
