//! How many slots one target may take, so that one whose API server hangs does not keep the commands of the others
//! waiting. Knows targets by name only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::task::SlotClass;

/// One slot in so many is left to the other targets.
const RESERVED_FOR_OTHERS: usize = 4;
/// How long a command may hold one of those while its own target's are taken: long enough for what takes moments, and
/// only where one of its target's will probably be free by then, so that thousands that wait pass by at once.
const MAX_SLOT_WAIT: Duration = Duration::from_millis(20);

/// One slot in so many may be held by watches, and one in twice as many by those of one target.
const WATCHES: usize = 4;

/// A part of the slots for each target, without limits where there is one target; and a part for watches.
#[derive(Debug)]
pub(super) struct TargetLimiter {
    by_target: HashMap<String, Arc<TargetSlots>>,
    watches: Arc<Semaphore>,
    watches_of_target: HashMap<String, Arc<Semaphore>>,
}

/// The slots of one target.
#[derive(Debug)]
struct TargetSlots {
    permits: Arc<Semaphore>,
    rate: Mutex<ReleaseRate>,
}

/// How fast they change hands.
#[derive(Debug)]
struct ReleaseRate {
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
pub(super) struct TargetPermit {
    target_slots: Option<(OwnedSemaphorePermit, Arc<TargetSlots>)>,
    #[allow(dead_code, reason = "held until the command ends")]
    watch: Option<[OwnedSemaphorePermit; 2]>,
}

impl Drop for TargetPermit {
    fn drop(&mut self) {
        let Some((_, target_slots)) = &self.target_slots else { return };
        let mut rate = target_slots.rate();
        let now = Instant::now();
        // A pause without commands says nothing.
        let gap = (now - rate.freed).min(MAX_SLOT_WAIT * 2);
        rate.gap = (rate.gap * 7 + gap) / 8;
        (rate.freed, rate.moved) = (now, now);
    }
}

impl TargetLimiter {
    pub fn new<'a>(targets: impl Iterator<Item = &'a str>, slots: usize) -> Self {
        let share = slots.saturating_sub(slots.div_ceil(RESERVED_FOR_OTHERS)).max(1);
        let now = Instant::now();
        let target_slots = || {
            let rate = ReleaseRate { moved: now, freed: now, gap: Duration::ZERO, waiting: 0 };
            Arc::new(TargetSlots { permits: Arc::new(Semaphore::new(share)), rate: Mutex::new(rate) })
        };
        let mut by_target: HashMap<_, _> = targets.map(|target| (target.to_owned(), target_slots())).collect();
        let semaphore = |part: usize| Arc::new(Semaphore::new((slots / part).max(1)));
        let watches_of_target = by_target.keys().map(|target| (target.clone(), semaphore(WATCHES * 2))).collect();
        if by_target.len() == 1 {
            by_target.clear();
        }
        Self { by_target, watches: semaphore(WATCHES), watches_of_target }
    }

    /// A slot for a command of the target; none when its share is taken, and stays so.
    pub async fn acquire(&self, target: &str, class: SlotClass) -> Option<TargetPermit> {
        let watch = match class {
            SlotClass::Urgent => return Some(TargetPermit { target_slots: None, watch: None }),
            SlotClass::Normal => None,
            SlotClass::Watch => Some(self.acquire_watch(target)?),
        };
        let target_slots = match self.by_target.get(target) {
            Some(target_slots) => Some(Self::acquire_slot(target_slots).await?),
            None => None,
        };
        Some(TargetPermit { target_slots, watch })
    }

    fn acquire_watch(&self, target: &str) -> Option<[OwnedSemaphorePermit; 2]> {
        let of_target = Arc::clone(self.watches_of_target.get(target)?).try_acquire_owned().ok()?;
        Some([of_target, Arc::clone(&self.watches).try_acquire_owned().ok()?])
    }

    async fn acquire_slot(target_slots: &Arc<TargetSlots>) -> Option<(OwnedSemaphorePermit, Arc<TargetSlots>)> {
        let permit = match Arc::clone(&target_slots.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => target_slots.wait().await?,
        };
        target_slots.rate().moved = Instant::now();
        Some((permit, Arc::clone(target_slots)))
    }
}

impl TargetSlots {
    fn rate(&self) -> MutexGuard<'_, ReleaseRate> {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait(&self) -> Option<OwnedSemaphorePermit> {
        {
            let mut rate = self.rate();
            if rate.gap.max(rate.moved.elapsed()) * (rate.waiting + 1) > MAX_SLOT_WAIT {
                return None;
            }
            rate.waiting += 1;
        }
        let permit = tokio::time::timeout(MAX_SLOT_WAIT, Arc::clone(&self.permits).acquire_owned()).await;
        self.rate().waiting -= 1;
        permit.ok()?.ok() // nobody closes it
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_target_takes_its_share_and_leaves_the_rest() {
        let limiter = TargetLimiter::new(["a", "b"].into_iter(), 8);
        let mut taken = Vec::new();
        for _ in 0..6 {
            taken.push(limiter.acquire("a", SlotClass::Normal).await.expect("within its share"));
        }
        assert!(limiter.acquire("a", SlotClass::Normal).await.is_none(), "two are left to others");
        assert!(limiter.acquire("b", SlotClass::Normal).await.is_some());
        taken.pop();
        assert!(limiter.acquire("a", SlotClass::Normal).await.is_some(), "it is given back");
    }

    #[tokio::test(start_paused = true)]
    async fn watches_hold_a_quarter_of_the_slots_and_urgent_commands_need_none() {
        for targets in [&["a"][..], &["a", "b", "c"]] {
            let limiter = TargetLimiter::new(targets.iter().copied(), 16);
            let mut watches = Vec::new();
            for target in targets {
                for _ in 0..16 {
                    watches.extend(limiter.acquire(target, SlotClass::Watch).await);
                }
            }
            assert_eq!(watches.len(), if targets.len() == 1 { 2 } else { 4 });
            let mut normal = Vec::new();
            for _ in 0..10 {
                normal.push(limiter.acquire("a", SlotClass::Normal).await.expect("watches leave it"));
            }
            watches.clear();
            for _ in 0..16 {
                normal.extend(limiter.acquire("a", SlotClass::Normal).await);
            }
            assert!(limiter.acquire("a", SlotClass::Urgent).await.is_some());
            assert!(limiter.acquire("a", SlotClass::Watch).await.is_none() || targets.len() == 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_slot_that_will_not_be_free_in_time() {
        let limiter = TargetLimiter::new(["a", "b"].into_iter(), 8);
        let mut taken = Vec::new();
        for _ in 0..6 {
            taken.push(limiter.acquire("a", SlotClass::Normal).await.expect("within its share"));
        }
        tokio::time::advance(MAX_SLOT_WAIT * 2).await;
        let asked = Instant::now();
        assert!(limiter.acquire("a", SlotClass::Normal).await.is_none(), "none has been given back for long");
        assert_eq!(asked.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn many_wait_for_slots_that_change_hands_quickly() {
        let limiter = Arc::new(TargetLimiter::new(["a", "b"].into_iter(), 8));
        let done = (0..100).map(|_| {
            let limiter = Arc::clone(&limiter);
            async move {
                let share = limiter.acquire("a", SlotClass::Normal).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
                share.is_some()
            }
        });
        let done = futures::future::join_all(done).await;
        assert!(done.iter().all(|taken| *taken), "{done:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_only_target_takes_all() {
        let limiter = TargetLimiter::new(["a"].into_iter(), 1);
        let one = limiter.acquire("a", SlotClass::Normal).await;
        assert!(one.is_some() && limiter.acquire("a", SlotClass::Normal).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn one_slot_serves_any_target() {
        let limiter = TargetLimiter::new(["a", "b"].into_iter(), 1);
        assert!(
            limiter.acquire("a", SlotClass::Normal).await.is_some()
                && limiter.acquire("b", SlotClass::Normal).await.is_some()
        );
    }
}
