//! Finds out which of several commands ends the process. After a death every command that was under way is a suspect, and
//! most of them are innocent. So the next attempt of a suspect begins alone: for its first seconds no other attempt begins
//! in this process, and none that began a moment ago is still in its first seconds. Only a death in that time is counted
//! against the command. Knows no bus.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// How long an attempt counts as beginning. What ends a process usually does so as it reads or renders its input.
pub(super) const PROBATION: Duration = Duration::from_secs(10);
/// How long a suspect holds its slot while it waits for others that begin.
const MAX_ALONE_WAIT: Duration = Duration::from_secs(30);

/// The attempts of this process that begin.
#[derive(Debug, Default)]
pub(super) struct Isolation(Arc<RwLock<()>>);

/// The right to begin an attempt; held until it ends, [`PROBATION`] at most.
#[derive(Debug)]
pub(super) enum StartPermit {
    /// Beside others.
    Shared { _permit: OwnedRwLockReadGuard<()> },
    /// Alone.
    Alone { _permit: OwnedRwLockWriteGuard<()> },
}

impl StartPermit {
    pub const fn is_alone(&self) -> bool {
        matches!(self, Self::Alone { .. })
    }
}

impl Isolation {
    /// Waits while a suspect begins.
    pub async fn shared(&self) -> StartPermit {
        StartPermit::Shared { _permit: Arc::clone(&self.0).read_owned().await }
    }

    /// Waits until no other attempt begins; `None` when that takes longer than 30 s.
    pub async fn alone(&self) -> Option<StartPermit> {
        let permit = tokio::time::timeout(MAX_ALONE_WAIT, Arc::clone(&self.0).write_owned()).await;
        permit.ok().map(|permit| StartPermit::Alone { _permit: permit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn suspect_begins_alone_and_gives_up_behind_one_that_does_not_end() {
        let isolation = Isolation::default();
        let others = [isolation.shared().await, isolation.shared().await];
        assert!(isolation.alone().await.is_none());
        drop(others);
        let alone = isolation.alone().await.expect("nobody else begins");
        let waited = tokio::time::timeout(MAX_ALONE_WAIT, isolation.shared()).await;
        assert!(waited.is_err(), "it begins alone");
        drop(alone);
        let _shared = isolation.shared().await;
    }
}
