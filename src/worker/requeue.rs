//! How commands wait that cannot begin, or begin again, yet: for a paused target, one that has its share of the slots, a
//! held installation, the next attempt. However many wait, they must neither fill the consumer's `max_ack_pending`,
//! which would keep all other commands from being delivered, nor keep the workers busy with looking at them. Knows what
//! is waited for by name only.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Looks at the commands that wait for one thing, in a second: what three quarters of 64 slots take from a target whose
/// commands last a tenth of a second, so that a queue whose commands can begin is not held up by it.
const CHECKS_PER_SECOND: u32 = 500;
/// A command that waits in the consumer: the server counts it as under way, and a cancellation does not reach it before
/// it is over.
pub(super) const MAX_NAK_DELAY: Duration = Duration::from_secs(10);
/// So many for each slot wait in the consumer at most.
const NAKS_PER_SLOT: usize = 8;
/// Below this a schedule is not worth its writes.
const MIN_SCHEDULE_DELAY: Duration = Duration::from_secs(5);
/// Lines that are kept although nobody may wait in them any more.
const MAX_QUEUES: usize = 1024;

/// How a command waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequeueVia {
    /// In the consumer, by a NAK with a delay: one small message.
    Nak(Duration),
    /// As a message schedule: written anew, but it takes nobody's place.
    Schedule(Duration),
}

/// What this worker has put off.
#[derive(Debug)]
pub(super) struct RequeuePacer {
    most: usize,
    /// When those come back that wait in the consumer.
    naks: Mutex<BinaryHeap<Reverse<Instant>>>,
    /// For each thing that is waited for, when the next look at it is due.
    queues: Mutex<HashMap<String, Instant>>,
}

impl RequeuePacer {
    pub fn new(slots: usize) -> Self {
        Self { most: slots * NAKS_PER_SLOT, naks: Mutex::default(), queues: Mutex::default() }
    }

    /// How long a command waits that stands in line for `what`: `least`, and longer where so many wait that they would be
    /// looked at more than [`CHECKS_PER_SECOND`] times in a second. Each has its turn, one after the other.
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

    /// The way to wait so long.
    pub fn via(&self, delay: Duration) -> RequeueVia {
        if delay.is_zero() || delay < MAX_NAK_DELAY && self.reserve_nak(delay) {
            RequeueVia::Nak(delay)
        } else {
            RequeueVia::Schedule(delay.max(MIN_SCHEDULE_DELAY))
        }
    }

    /// Whether one more may wait in the consumer; then it does.
    fn reserve_nak(&self, delay: Duration) -> bool {
        let mut naks = self.naks.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while naks.peek().is_some_and(|Reverse(due)| *due <= now) {
            naks.pop();
        }
        let room = naks.len() < self.most;
        if room {
            naks.push(Reverse(now + delay));
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Duration = Duration::from_millis(300);

    #[tokio::test(start_paused = true)]
    async fn few_wait_no_longer_than_they_have_to() {
        let requeue_pacer = RequeuePacer::new(1);
        for _ in 0..1000 {
            assert_eq!(requeue_pacer.turn_delay("a", LEAST).max(LEAST), LEAST);
            tokio::time::advance(Duration::from_millis(2)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_commands_are_checked_at_a_bounded_rate_and_delay_no_other_queue() {
        let requeue_pacer = RequeuePacer::new(1);
        let delays: Vec<_> = (0..100_000).map(|_| requeue_pacer.turn_delay("a", LEAST)).collect();
        assert!(delays.is_sorted());
        assert_eq!(delays.last().unwrap().as_secs(), 199);
        assert_eq!(requeue_pacer.turn_delay("b", LEAST), LEAST);
        // As each comes back it is put off by as much, while there are so many.
        tokio::time::advance(Duration::from_secs(1)).await;
        let again: Vec<_> = (0..500).map(|_| requeue_pacer.turn_delay("a", LEAST)).collect();
        assert_eq!(again.last().unwrap().as_secs(), 199);
        // And the line is over when nobody stands in it any more.
        tokio::time::advance(Duration::from_secs(200)).await;
        assert_eq!(requeue_pacer.turn_delay("a", LEAST), LEAST);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_its_part_waits_in_the_consumer() {
        let requeue_pacer = RequeuePacer::new(1);
        for _ in 0..NAKS_PER_SLOT {
            assert_eq!(requeue_pacer.via(LEAST), RequeueVia::Nak(LEAST));
        }
        assert_eq!(requeue_pacer.via(LEAST), RequeueVia::Schedule(MIN_SCHEDULE_DELAY));
        assert_eq!(requeue_pacer.via(Duration::ZERO), RequeueVia::Nak(Duration::ZERO), "nobody waits for that");
        tokio::time::advance(LEAST).await;
        assert_eq!(requeue_pacer.via(MAX_NAK_DELAY), RequeueVia::Schedule(MAX_NAK_DELAY));
        assert_eq!(requeue_pacer.via(LEAST), RequeueVia::Nak(LEAST), "they are back");
    }

    #[tokio::test(start_paused = true)]
    async fn lines_that_are_over_are_forgotten() {
        let requeue_pacer = RequeuePacer::new(1);
        for number in 0..10_000 {
            requeue_pacer.turn_delay(&number.to_string(), LEAST);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!(requeue_pacer.queues.lock().unwrap().len() <= MAX_QUEUES);
    }
}
