//! How many slots one target may take, so that one whose API server hangs does not keep the commands of the others
//! waiting. Knows targets by name only.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One slot in so many is left to the other targets.
const LEFT: usize = 4;
/// How long a command may hold one of those while its own target's are taken: long enough for what takes moments, short
/// enough for thousands that wait.
const PATIENCE: Duration = Duration::from_millis(20);

/// A part of the slots for each target; without limits where there is one target.
#[derive(Debug)]
pub(super) struct Shares(HashMap<String, Arc<Semaphore>>);

/// The right to carry out a command of a target.
#[derive(Debug)]
pub(super) struct Share {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Shares {
    pub fn new<'a>(targets: impl Iterator<Item = &'a str>, slots: usize) -> Self {
        let share = slots.saturating_sub(slots.div_ceil(LEFT)).max(1);
        let shares: HashMap<_, _> =
            targets.map(|target| (target.to_owned(), Arc::new(Semaphore::new(share)))).collect();
        Self(if shares.len() > 1 { shares } else { HashMap::new() })
    }

    /// A slot of the target's share; none when they are all taken, and stay so.
    pub async fn take(&self, target: &str) -> Option<Share> {
        let Some(share) = self.0.get(target) else { return Some(Share { _permit: None }) };
        let permit = tokio::time::timeout(PATIENCE, Arc::clone(share).acquire_owned()).await.ok()?;
        Some(Share { _permit: permit.ok() }) // nobody closes it
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
