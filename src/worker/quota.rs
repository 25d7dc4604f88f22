//! Limits the memory of parameters, the dead letters of rejected messages, and how long results are stored. The limits are
//! in docs/operations.md, "Quotas".

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::Engine;
use crate::bus::Retention;
use crate::event::{Outcome, ResultData};

const KIB: usize = 1024;
/// Parameters of all running commands of a process, in KiB. A task uses up to about four times the size of its parameters:
/// for the text, the JSON and the objects.
const PARAMETERS: usize = 64 * KIB;
/// Parameters up to this size are not counted, in KiB. The number of slots limits them.
const SMALL: usize = 64;

/// Bytes of rejected messages of one target that a worker stores in full per hour.
const WHOLE: f64 = 16.0 * 1024.0 * 1024.0;
/// Bytes of further rejected messages that it stores per hour, cut to [`CUT`] bytes each.
const CUT_TOTAL: f64 = 4.0 * 1024.0 * 1024.0;
/// Bytes of the payload in a dead letter that is cut.
pub(super) const CUT: usize = 4 * KIB;
const HOUR: Duration = Duration::from_hours(1);

/// Memory for the parameters of running commands.
#[derive(Debug)]
pub(super) struct ParamsMemory(Arc<Semaphore>);

/// Memory for the parameters of one command.
#[derive(Debug)]
pub(super) struct MemoryPermit(Option<OwnedSemaphorePermit>);

impl Default for ParamsMemory {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PARAMETERS)))
    }
}

impl ParamsMemory {
    /// Reserves memory for parameters of so many bytes; `None` while other commands use too much.
    pub fn reserve(&self, bytes: usize) -> Option<MemoryPermit> {
        match charge(bytes) {
            0 => Some(MemoryPermit(None)),
            permits => {
                Arc::clone(&self.0).try_acquire_many_owned(permits).ok().map(|permit| MemoryPermit(Some(permit)))
            }
        }
    }

    /// Makes the permit one for parameters of so many bytes. False while other commands use too much.
    pub fn resize(&self, permit: &mut MemoryPermit, bytes: usize) -> bool {
        let held = permit.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let needed = charge(bytes) as usize;
        if needed <= held {
            drop(permit.0.as_mut().and_then(|permit| permit.split(held - needed)));
            return true;
        }
        let more = u32::try_from(needed - held).unwrap_or(u32::MAX);
        let Ok(more) = Arc::clone(&self.0).try_acquire_many_owned(more) else { return false };
        match &mut permit.0 {
            Some(permit) => permit.merge(more),
            none => *none = Some(more),
        }
        true
    }
}

/// In KiB.
fn charge(bytes: usize) -> u32 {
    let kib = bytes.div_ceil(KIB);
    if kib <= SMALL { 0 } else { u32::try_from(kib.min(PARAMETERS)).unwrap_or(u32::MAX) }
}

/// How much of a rejected message its dead letter contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LetterContent {
    Full,
    Truncated,
    /// No dead letter is published.
    Omitted,
}

/// Dead letters of rejected messages, by target.
#[derive(Debug, Default)]
pub(super) struct DeadLetterQuota(Mutex<HashMap<String, [Allowance; 2]>>);

/// A number of bytes that is refilled evenly over an hour.
#[derive(Debug)]
struct Allowance {
    most: f64,
    left: f64,
    at: Instant,
}

impl Allowance {
    fn new(most: f64, at: Instant) -> Self {
        Self { most, left: most, at }
    }

    fn take(&mut self, bytes: f64, now: Instant) -> bool {
        let refilled = (now - self.at).as_secs_f64() / HOUR.as_secs_f64() * self.most;
        self.left = (self.left + refilled).min(self.most);
        self.at = now;
        let enough = bytes <= self.left;
        if enough {
            self.left -= bytes;
        }
        enough
    }
}

impl DeadLetterQuota {
    /// How much of a rejected message of so many bytes, headers included, is stored. `target` is a configured target.
    #[allow(clippy::cast_precision_loss, reason = "sizes of messages")]
    pub fn admit(&self, target: Option<&str>, bytes: usize) -> LetterContent {
        let now = Instant::now();
        let mut targets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || [Allowance::new(WHOLE, now), Allowance::new(CUT_TOTAL, now)];
        let [whole, cut] = targets.entry(target.unwrap_or_default().to_owned()).or_insert_with(new);
        if whole.take(bytes as f64, now) {
            LetterContent::Full
        } else if cut.take(bytes.min(CUT) as f64, now) {
            LetterContent::Truncated
        } else {
            LetterContent::Omitted
        }
    }
}

impl Engine {
    /// Whether commands of the verb never write to the cluster.
    pub(super) fn is_read_only(&self, verb: &str) -> bool {
        self.read_only.contains(verb)
    }

    /// How long the result of a command is stored. The result prevents another execution of the command, so the result of a
    /// command that wrote, or could have written, is stored for the full time.
    pub(super) fn retention(&self, verb: &str, result: &ResultData) -> Retention {
        let wrote = result.changed || result.fence != 0;
        let is_read_only = result.outcome == Outcome::Rejected || self.is_read_only(verb);
        if is_read_only && !wrote { Retention::Short } else { Retention::Full }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = KIB * KIB;

    #[test]
    fn large_parameters_share_the_memory_of_the_process() {
        let memory = ParamsMemory::default();
        let mut large: Vec<_> = (0..4).map(|_| memory.reserve(16 * MIB).expect("within the limit")).collect();
        assert!(memory.reserve(100 * KIB).is_none(), "all memory is reserved");
        assert!(memory.reserve(SMALL * KIB).is_some(), "slots bound small ones");
        assert!(!memory.resize(&mut large[1], 17 * MIB), "there is no more");
        assert!(memory.resize(&mut large[0], MIB));
        let other = memory.reserve(15 * MIB).expect("the object was smaller than its limit");
        drop((large, other));
        assert!(memory.reserve(64 * MIB).is_some(), "all is given back");
    }

    #[tokio::test(start_paused = true)]
    async fn flood_of_rejected_messages_is_cut_and_then_dropped_until_an_hour_has_passed() {
        let quota = DeadLetterQuota::default();
        let flood = |target| (0..3000).map(|_| quota.admit(Some(target), MIB)).collect::<Vec<_>>();
        let count = |found: &[LetterContent], wanted| found.iter().filter(|letter| **letter == wanted).count();
        let found = flood("a");
        assert_eq!((count(&found, LetterContent::Full), count(&found, LetterContent::Truncated)), (16, 1024));
        assert_eq!(quota.admit(Some("b"), MIB), LetterContent::Full, "each target has its own");
        assert_eq!(quota.admit(Some("a"), 10), LetterContent::Omitted);
        tokio::time::advance(HOUR).await;
        assert_eq!(count(&flood("a"), LetterContent::Full), 16);
    }
}
