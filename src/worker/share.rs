//! How many slots one target may take, so that one whose API server hangs does not keep the commands of the others
//! waiting. Knows targets by name only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// One slot in so many is left to the other targets.
const LEFT: usize = 4;
/// How long a command may hold one of those while its own target's are taken: long enough for what takes moments, and
/// only where one of its target's will probably be free by then, so that thousands that wait pass by at once.
const PATIENCE: Duration = Duration::from_millis(20);

/// A part of the slots for each target; without limits where there is one target.
#[derive(Debug)]
pub(super) struct Shares(HashMap<String, Arc<Lane>>);

/// The slots of one target.
#[derive(Debug)]
struct Lane {
    permits: Arc<Semaphore>,
    pace: Mutex<Pace>,
}

/// How fast they change hands.
#[derive(Debug)]
struct Pace {
    /// When one last did.
    moved: Instant,
    /// When one was last given back.
    freed: Instant,
    /// Between two that are given back, on the average.
    gap: Duration,
    /// Commands that wait for one.
    waiting: u32,
}

/// The right to carry out a command of a target.
#[derive(Debug)]
pub(super) struct Share(Option<(OwnedSemaphorePermit, Arc<Lane>)>);

impl Drop for Share {
    fn drop(&mut self) {
        let Some((_, lane)) = &self.0 else { return };
        let mut pace = lane.pace();
        let now = Instant::now();
        // A pause without commands says nothing.
        let gap = (now - pace.freed).min(PATIENCE * 2);
        pace.gap = (pace.gap * 7 + gap) / 8;
        (pace.freed, pace.moved) = (now, now);
    }
}

impl Shares {
    pub fn new<'a>(targets: impl Iterator<Item = &'a str>, slots: usize) -> Self {
        let share = slots.saturating_sub(slots.div_ceil(LEFT)).max(1);
        let now = Instant::now();
        let lane = || {
            let pace = Pace { moved: now, freed: now, gap: Duration::ZERO, waiting: 0 };
            Arc::new(Lane { permits: Arc::new(Semaphore::new(share)), pace: Mutex::new(pace) })
        };
        let shares: HashMap<_, _> = targets.map(|target| (target.to_owned(), lane())).collect();
        Self(if shares.len() > 1 { shares } else { HashMap::new() })
    }

    /// A slot of the target's share; none when they are all taken, and stay so.
    pub async fn take(&self, target: &str) -> Option<Share> {
        let Some(lane) = self.0.get(target) else { return Some(Share(None)) };
        let permit = match Arc::clone(&lane.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => lane.wait().await?,
        };
        lane.pace().moved = Instant::now();
        Some(Share(Some((permit, Arc::clone(lane)))))
    }
}

impl Lane {
    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait(&self) -> Option<OwnedSemaphorePermit> {
        {
            let mut pace = self.pace();
            if pace.gap.max(pace.moved.elapsed()) * (pace.waiting + 1) > PATIENCE {
                return None;
            }
            pace.waiting += 1;
        }
        let permit = tokio::time::timeout(PATIENCE, Arc::clone(&self.permits).acquire_owned()).await;
        self.pace().waiting -= 1;
        permit.ok()?.ok() // nobody closes it
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_target_takes_its_share_and_leaves_the_rest() {
        let shares = Shares::new(["a", "b"].into_iter(), 8);
        let mut taken = Vec::new();
        for _ in 0..6 {
            taken.push(shares.take("a").await.expect("within its share"));
        }
        assert!(shares.take("a").await.is_none(), "two are left to others");
        assert!(shares.take("b").await.is_some());
        taken.pop();
        assert!(shares.take("a").await.is_some(), "it is given back");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_slot_that_will_not_be_free_in_time() {
        let shares = Shares::new(["a", "b"].into_iter(), 8);
        let mut taken = Vec::new();
        for _ in 0..6 {
            taken.push(shares.take("a").await.expect("within its share"));
        }
        tokio::time::advance(PATIENCE * 2).await;
        let asked = Instant::now();
        assert!(shares.take("a").await.is_none(), "none has been given back for long");
        assert_eq!(asked.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn many_wait_for_slots_that_change_hands_quickly() {
        let shares = Arc::new(Shares::new(["a", "b"].into_iter(), 8));
        let done = (0..100).map(|_| {
            let shares = Arc::clone(&shares);
            async move {
                let share = shares.take("a").await;
                tokio::time::sleep(Duration::from_millis(1)).await;
                share.is_some()
            }
        });
        let done = futures::future::join_all(done).await;
        assert!(done.iter().all(|taken| *taken), "{done:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_only_target_takes_all() {
        let shares = Shares::new(["a"].into_iter(), 1);
        let one = shares.take("a").await;
        assert!(one.is_some() && shares.take("a").await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn one_slot_serves_any_target() {
        let shares = Shares::new(["a", "b"].into_iter(), 1);
        assert!(shares.take("a").await.is_some() && shares.take("b").await.is_some());
    }
}
