//! Limits the slots that the commands of one target occupy, and those of all busy targets together, so that targets whose
//! API servers hang or whose queues are long do not block the commands of the others. Limits watches, which hold a slot for
//! hours, in the same way. Knows targets by name only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::task::SlotClass;

/// One slot in so many is reserved for targets without a running command; half of these for quiet targets.
const RESERVED: usize = 4;
/// Time over which the slots that a target occupies are averaged.
const OCCUPANCY_SPAN: Duration = Duration::from_secs(10);
/// A target that occupies this part of a slot on average, or more, is in use. Far below one slot, because hundreds of
/// targets with long queues and short commands have no running command most of the time.
const IN_USE: f64 = 0.02;
/// How often the targets in use are counted.
const COUNTED_EVERY: Duration = Duration::from_secs(1);
/// How long a command may hold a reserved slot while it waits for a slot of its own target. It waits only when a slot of
/// the target will probably be released in this time, so thousands of commands of a busy target are requeued at once.
const MAX_SLOT_WAIT: Duration = Duration::from_millis(20);

/// One slot in so many may run a watch, and one in twice as many a watch of the same target.
const WATCHES: usize = 4;

/// Slots for each target, without a limit for the only target of a worker; and slots for watches.
#[derive(Debug)]
pub(super) struct TargetLimiter {
    by_target: HashMap<String, Arc<Slots>>,
    /// For the commands of targets that are not quiet.
    busy: Arc<Slots>,
    /// For the first running command of a target that is not quiet, while all of `busy` are in use.
    first: Arc<Slots>,
    /// When the targets in use were last counted, and the average occupancy below which a target is quiet.
    quiet: Mutex<(Instant, f64)>,
    watches: Arc<Semaphore>,
    watches_of_target: HashMap<String, Arc<Semaphore>>,
    /// Number of slots that are reserved for quiet targets.
    reserved: usize,
}

/// Slots that some commands share.
#[derive(Debug)]
struct Slots {
    permits: Arc<Semaphore>,
    rate: Mutex<ReleaseRate>,
    occupancy: Mutex<Occupancy>,
}

/// An occupied slot.
#[derive(Debug)]
struct Slot {
    #[allow(dead_code, reason = "held until the command ends")]
    permit: OwnedSemaphorePermit,
    of: Arc<Slots>,
}

/// How often a slot is released.
#[derive(Debug)]
struct ReleaseRate {
    /// When a slot was last acquired or released.
    moved: Instant,
    /// When a slot was last released.
    released: Instant,
    /// Moving average of the time between two releases.
    gap: Duration,
    /// Commands that wait for a slot.
    waiting: u32,
}

/// How many slots are in use.
#[derive(Debug)]
struct Occupancy {
    /// Now.
    used: u32,
    /// Exponentially weighted average over [`OCCUPANCY_SPAN`], as of `changed`.
    average: f64,
    /// When `used` last changed.
    changed: Instant,
}

impl Occupancy {
    /// The average at this time.
    fn average(&self, now: Instant) -> f64 {
        let past = (-(now - self.changed).as_secs_f64() / OCCUPANCY_SPAN.as_secs_f64()).exp();
        self.average * past + f64::from(self.used) * (1.0 - past)
    }

    fn set(&mut self, used: u32) {
        let now = Instant::now();
        *self = Self { average: self.average(now), used, changed: now };
    }
}

/// Which slots are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// Those of the target, or those for watches.
    Target,
    /// Those that busy targets share.
    Shared,
}

/// The right to execute a command of a target.
#[derive(Debug)]
pub(super) struct TargetPermit {
    #[allow(dead_code, reason = "held until the command ends")]
    slots: [Option<Slot>; 2],
    #[allow(dead_code, reason = "held until the command ends")]
    watch: Option<[OwnedSemaphorePermit; 2]>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut rate = self.of.rate();
        let now = Instant::now();
        // A longer gap means that there were no commands, and says nothing about their duration.
        let gap = (now - rate.released).min(MAX_SLOT_WAIT * 2);
        rate.gap = (rate.gap * 7 + gap) / 8;
        (rate.released, rate.moved) = (now, now);
        drop(rate);
        let mut occupancy = self.of.occupancy();
        let used = occupancy.used.saturating_sub(1);
        occupancy.set(used);
    }
}

impl TargetLimiter {
    pub fn new<'a>(targets: impl Iterator<Item = &'a str>, slots: usize) -> Self {
        let limit = slots.saturating_sub(slots.div_ceil(RESERVED)).max(1);
        let mut by_target: HashMap<_, _> = targets.map(|target| (target.to_owned(), Slots::new(limit))).collect();
        let semaphore = |part: usize| Arc::new(Semaphore::new((slots / part).max(1)));
        let watches_of_target = by_target.keys().map(|target| (target.clone(), semaphore(WATCHES * 2))).collect();
        if by_target.len() == 1 {
            by_target.clear();
        }
        let reserved = slots / (RESERVED * 2);
        let (busy, first) = (Slots::new(limit), Slots::new(reserved));
        let quiet = Mutex::new((Instant::now(), IN_USE));
        Self { by_target, busy, first, quiet, reserved, watches: semaphore(WATCHES), watches_of_target }
    }

    /// A slot for a command of the target.
    ///
    /// # Errors
    /// When all slots that it may use are in use, and none of them will be released soon.
    pub async fn acquire(&self, target: &str, class: SlotClass) -> Result<TargetPermit, Full> {
        let watch = match class {
            SlotClass::Urgent => return Ok(TargetPermit { slots: [None, None], watch: None }),
            SlotClass::Normal => None,
            SlotClass::Watch => Some(self.acquire_watch(target).ok_or(Full::Target)?),
        };
        let Some(of_target) = self.by_target.get(target) else {
            return Ok(TargetPermit { slots: [None, None], watch });
        };
        if watch.is_some() {
            // It runs for hours, and the target is quiet nevertheless.
            let shared = self.busy.acquire().await.ok_or(Full::Shared)?;
            return Ok(TargetPermit { slots: [Some(shared), None], watch });
        }
        let (is_first, is_quiet) = of_target.state(self.quiet());
        let slot = of_target.acquire().await.ok_or(Full::Target)?;
        let shared = if is_quiet {
            None
        } else if is_first && let Some(first) = self.busy.try_acquire().or_else(|| self.first.try_acquire()) {
            Some(first)
        } else {
            Some(self.busy.acquire().await.ok_or(Full::Shared)?)
        };
        Ok(TargetPermit { slots: [Some(slot), shared], watch })
    }

    /// Average occupancy below which a target is quiet: an equal share, for each target in use, of the slots that are
    /// reserved for quiet ones. So the quiet ones among them do not occupy more than those together.
    fn quiet(&self) -> f64 {
        let mut quiet = self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if now - quiet.0 >= COUNTED_EVERY {
            let in_use = self.by_target.values().filter(|slots| slots.occupancy().average(now) >= IN_USE).count();
            #[allow(clippy::cast_precision_loss, reason = "thousands at most")]
            let share = self.reserved as f64 / in_use.max(1) as f64;
            *quiet = (now, share.max(IN_USE));
        }
        quiet.1
    }

    fn acquire_watch(&self, target: &str) -> Option<[OwnedSemaphorePermit; 2]> {
        let of_target = Arc::clone(self.watches_of_target.get(target)?).try_acquire_owned().ok()?;
        Some([of_target, Arc::clone(&self.watches).try_acquire_owned().ok()?])
    }
}

impl Slots {
    fn new(number: usize) -> Arc<Self> {
        let now = Instant::now();
        let rate = ReleaseRate { moved: now, released: now, gap: Duration::ZERO, waiting: 0 };
        let occupancy = Mutex::new(Occupancy { used: 0, average: 0.0, changed: now });
        Arc::new(Self { permits: Arc::new(Semaphore::new(number)), rate: Mutex::new(rate), occupancy })
    }

    /// Whether all of them are free, and whether they are quiet too: on average fewer than `quiet` were in use.
    fn state(&self, quiet: f64) -> (bool, bool) {
        let occupancy = self.occupancy();
        let are_free = occupancy.used == 0;
        (are_free, are_free && occupancy.average(Instant::now()) < quiet)
    }

    async fn acquire(self: &Arc<Self>) -> Option<Slot> {
        match self.try_acquire() {
            Some(slot) => Some(slot),
            None => Some(self.taken(self.wait().await?)),
        }
    }

    fn try_acquire(self: &Arc<Self>) -> Option<Slot> {
        Some(self.taken(Arc::clone(&self.permits).try_acquire_owned().ok()?))
    }

    fn taken(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Slot {
        self.rate().moved = Instant::now();
        let mut occupancy = self.occupancy();
        let used = occupancy.used + 1;
        occupancy.set(used);
        drop(occupancy);
        Slot { permit, of: Arc::clone(self) }
    }

    fn occupancy(&self) -> MutexGuard<'_, Occupancy> {
        self.occupancy.lock().unwrap_or_else(PoisonError::into_inner)
    }

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
        permit.ok()?.ok() // the semaphore is never closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn target_leaves_a_quarter_of_the_slots_to_others() {
        let limiter = TargetLimiter::new(["a", "b"].into_iter(), 8);
        let mut permits = Vec::new();
        for _ in 0..6 {
            permits.push(limiter.acquire("a", SlotClass::Normal).await.expect("within its limit"));
        }
        let full = limiter.acquire("a", SlotClass::Normal).await.err();
        assert_eq!(full, Some(Full::Target), "two are reserved for others");
        assert!(limiter.acquire("b", SlotClass::Normal).await.is_ok());
        permits.pop();
        assert!(limiter.acquire("a", SlotClass::Normal).await.is_ok(), "one was released");
    }

    /// Before: as long as none of them exceeded its own limit, flooded targets together took every slot, and a command of
    /// another target waited behind all that was queued for them.
    #[tokio::test(start_paused = true)]
    async fn busy_targets_together_leave_a_quarter_of_the_slots_to_idle_ones() {
        let names: Vec<_> = (0..10).map(|number| number.to_string()).collect();
        let limiter = TargetLimiter::new(names.iter().map(String::as_str), 64);
        let mut permits = Vec::new();
        for _ in 0..64 {
            for target in &names[..4] {
                permits.extend(limiter.acquire(target, SlotClass::Normal).await);
            }
        }
        assert_eq!(permits.len(), 4 + 48, "the first command of each quiet target, and three quarters of the slots");
        for target in &names[4..] {
            permits.push(limiter.acquire(target, SlotClass::Normal).await.expect("it has no running command"));
        }
        let full = limiter.acquire("9", SlotClass::Normal).await.err();
        assert_eq!(full, Some(Full::Shared), "it has one");
        permits.clear();
        assert!(limiter.acquire("0", SlotClass::Normal).await.is_ok());
    }

    /// Before: flooded targets as numerous as the slots had no running command most of the time, and their next commands
    /// took the reserved slots.
    #[tokio::test(start_paused = true)]
    async fn more_flooded_targets_than_slots_leave_slots_to_quiet_ones() {
        const SLOTS: usize = 64;
        let names: Vec<_> = (0..=SLOTS * 4).map(|number| number.to_string()).collect();
        let (quiet, flooded) = names.split_last().expect("there are names");
        let limiter = TargetLimiter::new(names.iter().map(String::as_str), SLOTS);
        let (tick, duration) = (Duration::from_millis(50), Duration::from_secs(1));
        let mut running: Vec<(Instant, TargetPermit)> = Vec::new();
        let mut executed = 0;
        for round in 0_usize..2_000 {
            running.retain(|(end, _)| *end > Instant::now());
            for number in 0..flooded.len() {
                let target = &flooded[(number + round * 7) % flooded.len()];
                if running.len() == SLOTS {
                    break; // the worker pulls no commands
                }
                if let Ok(permit) = limiter.acquire(target, SlotClass::Normal).await {
                    executed += 1;
                    running.push((Instant::now() + duration, permit));
                }
            }
            if round > 200 {
                assert!(running.len() < SLOTS, "round {round}");
                assert!(limiter.acquire(quiet, SlotClass::Normal).await.is_ok(), "round {round}");
            }
            tokio::time::advance(tick).await;
        }
        assert!(executed > 48 * 95, "the flooded targets use their slots: {executed}");
    }

    /// Before: a target with a short command each 20 ms counted as busy, like one with a long queue.
    #[tokio::test(start_paused = true)]
    async fn target_with_less_than_its_share_is_quiet_beside_flooded_ones() {
        let names: Vec<_> = (0..1_000).map(|number| number.to_string()).collect();
        let limiter = TargetLimiter::new(names.iter().map(String::as_str), 64);
        let mut running: Vec<(Instant, TargetPermit)> = Vec::new();
        for round in 0_usize..3_000 {
            running.retain(|(end, _)| *end > Instant::now());
            for number in 0..100 {
                let target = &names[(number + round * 7) % 100];
                if let Ok(permit) = limiter.acquire(target, SlotClass::Normal).await {
                    running.push((Instant::now() + Duration::from_millis(500), permit));
                }
            }
            let small = limiter.acquire("999", SlotClass::Normal).await;
            assert!(small.is_ok() || round < 60, "round {round}");
            tokio::time::advance(Duration::from_millis(1)).await;
            drop(small);
            tokio::time::advance(Duration::from_millis(19)).await;
        }
        assert!(limiter.quiet() < 0.1, "the flooded targets are in use");
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
            // One without a further slot, and three quarters of the slots without those of the watches.
            for _ in 0..9 {
                normal.push(limiter.acquire("a", SlotClass::Normal).await.expect("watches do not hold it"));
            }
            watches.clear();
            for _ in 0..16 {
                normal.extend(limiter.acquire("a", SlotClass::Normal).await);
            }
            assert!(limiter.acquire("a", SlotClass::Urgent).await.is_ok());
            let first = limiter.acquire("a", SlotClass::Watch).await;
            assert!(first.is_ok(), "one command needs no further slot");
            assert!(limiter.acquire("a", SlotClass::Watch).await.is_err() || targets.len() == 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn command_does_not_wait_for_a_slot_that_is_not_released_soon() {
        let limiter = TargetLimiter::new(["a", "b"].into_iter(), 8);
        let mut permits = Vec::new();
        for _ in 0..6 {
            permits.push(limiter.acquire("a", SlotClass::Normal).await.expect("within its limit"));
        }
        tokio::time::advance(MAX_SLOT_WAIT * 2).await;
        let start = Instant::now();
        assert!(limiter.acquire("a", SlotClass::Normal).await.is_err(), "no slot was released recently");
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn commands_wait_for_slots_that_are_released_often() {
        let limiter = Arc::new(TargetLimiter::new(["a", "b"].into_iter(), 8));
        let acquired = (0..100).map(|_| {
            let limiter = Arc::clone(&limiter);
            async move {
                let permit = limiter.acquire("a", SlotClass::Normal).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
                permit.is_ok()
            }
        });
        let acquired = futures::future::join_all(acquired).await;
        assert!(acquired.iter().all(|acquired| *acquired), "{acquired:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn only_target_has_no_limit() {
        let limiter = TargetLimiter::new(["a"].into_iter(), 1);
        let first = limiter.acquire("a", SlotClass::Normal).await;
        assert!(first.is_ok() && limiter.acquire("a", SlotClass::Normal).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn only_slot_serves_each_target() {
        let limiter = TargetLimiter::new(["a", "b"].into_iter(), 1);
        for target in ["a", "b"] {
            assert!(limiter.acquire(target, SlotClass::Normal).await.is_ok(), "{target}");
        }
    }
}
