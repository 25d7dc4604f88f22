//! How many slots one target may take, so that one whose API server hangs does not keep the commands of the others
//! waiting. Knows targets by name only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::task::SlotClass;

/// One slot in so many is left to the other targets.
const LEFT: usize = 4;
/// How long a command may hold one of those while its own target's are taken: long enough for what takes moments, and
/// only where one of its target's will probably be free by then, so that thousands that wait pass by at once.
const PATIENCE: Duration = Duration::from_millis(20);

/// One slot in so many may be held by watches, and one in twice as many by those of one target.
const WATCHES: usize = 4;

/// A part of the slots for each target, without limits where there is one target; and a part for watches.
#[derive(Debug)]
pub(super) struct Shares {
    lanes: HashMap<String, Arc<Lane>>,
    watches: Arc<Semaphore>,
    watches_of: HashMap<String, Arc<Semaphore>>,
}

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
pub(super) struct Share {
    lane: Option<(OwnedSemaphorePermit, Arc<Lane>)>,
    #[allow(dead_code, reason = "held until the command ends")]
    watch: Option<[OwnedSemaphorePermit; 2]>,
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some((_, lane)) = &self.lane else { return };
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
        let mut lanes: HashMap<_, _> = targets.map(|target| (target.to_owned(), lane())).collect();
        let semaphore = |part: usize| Arc::new(Semaphore::new((slots / part).max(1)));
        let watches_of = lanes.keys().map(|target| (target.clone(), semaphore(WATCHES * 2))).collect();
        if lanes.len() == 1 {
            lanes.clear();
        }
        Self { lanes, watches: semaphore(WATCHES), watches_of }
    }

    /// A slot for a command of the target; none when its share is taken, and stays so.
    pub async fn take(&self, target: &str, class: SlotClass) -> Option<Share> {
        let watch = match class {
            SlotClass::Urgent => return Some(Share { lane: None, watch: None }),
            SlotClass::Normal => None,
            SlotClass::Watch => Some(self.take_watch(target)?),
        };
        let lane = match self.lanes.get(target) {
            Some(lane) => Some(Self::take_slot(lane).await?),
            None => None,
        };
        Some(Share { lane, watch })
    }

    fn take_watch(&self, target: &str) -> Option<[OwnedSemaphorePermit; 2]> {
        let of_target = Arc::clone(self.watches_of.get(target)?).try_acquire_owned().ok()?;
        Some([of_target, Arc::clone(&self.watches).try_acquire_owned().ok()?])
    }

    async fn take_slot(lane: &Arc<Lane>) -> Option<(OwnedSemaphorePermit, Arc<Lane>)> {
        let permit = match Arc::clone(&lane.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => lane.wait().await?,
        };
        lane.pace().moved = Instant::now();
        Some((permit, Arc::clone(lane)))
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
            taken.push(shares.take("a", SlotClass::Normal).await.expect("within its share"));
        }
        assert!(shares.take("a", SlotClass::Normal).await.is_none(), "two are left to others");
        assert!(shares.take("b", SlotClass::Normal).await.is_some());
        taken.pop();
        assert!(shares.take("a", SlotClass::Normal).await.is_some(), "it is given back");
    }

    #[tokio::test(start_paused = true)]
    async fn watches_hold_a_quarter_of_the_slots_and_urgent_commands_wait_for_none() {
        for targets in [&["a"][..], &["a", "b", "c"]] {
            let shares = Shares::new(targets.iter().copied(), 16);
            let mut watches = Vec::new();
            for target in targets {
                for _ in 0..16 {
                    watches.extend(shares.take(target, SlotClass::Watch).await);
                }
            }
            assert_eq!(watches.len(), if targets.len() == 1 { 2 } else { 4 });
            let mut normal = Vec::new();
            for _ in 0..10 {
                normal.push(shares.take("a", SlotClass::Normal).await.expect("watches leave it"));
            }
            watches.clear();
            for _ in 0..16 {
                normal.extend(shares.take("a", SlotClass::Normal).await);
            }
            assert!(shares.take("a", SlotClass::Urgent).await.is_some());
            assert!(shares.take("a", SlotClass::Watch).await.is_none() || targets.len() == 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_slot_that_will_not_be_free_in_time() {
        let shares = Shares::new(["a", "b"].into_iter(), 8);
        let mut taken = Vec::new();
        for _ in 0..6 {
            taken.push(shares.take("a", SlotClass::Normal).await.expect("within its share"));
        }
        tokio::time::advance(PATIENCE * 2).await;
        let asked = Instant::now();
        assert!(shares.take("a", SlotClass::Normal).await.is_none(), "none has been given back for long");
        assert_eq!(asked.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn many_wait_for_slots_that_change_hands_quickly() {
        let shares = Arc::new(Shares::new(["a", "b"].into_iter(), 8));
        let done = (0..100).map(|_| {
            let shares = Arc::clone(&shares);
            async move {
                let share = shares.take("a", SlotClass::Normal).await;
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
        let one = shares.take("a", SlotClass::Normal).await;
        assert!(one.is_some() && shares.take("a", SlotClass::Normal).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn one_slot_serves_any_target() {
        let shares = Shares::new(["a", "b"].into_iter(), 1);
        assert!(
            shares.take("a", SlotClass::Normal).await.is_some() && shares.take("b", SlotClass::Normal).await.is_some()
        );
    }
}
