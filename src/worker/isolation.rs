//! Finds out which command crashes the process. After a crash each command that ran is suspect, although most did not cause
//! it. So the next attempt of a suspect starts alone: during its first seconds no other attempt starts in this process, and
//! it waits until those that started before have survived theirs. Only a crash in that time counts against the command.
//! Does not use the bus.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// First seconds of an attempt. A command that crashes the process usually does so while its input is parsed or rendered.
pub(super) const PROBATION: Duration = Duration::from_secs(10);
/// How long a suspect occupies its slot while it waits for other attempts.
const MAX_ALONE_WAIT: Duration = Duration::from_secs(30);

/// The attempts of this process that are in their first seconds.
#[derive(Debug, Default)]
pub(super) struct Isolation(Arc<RwLock<()>>);

/// The right to start an attempt; held until its end, at most for [`PROBATION`].
#[derive(Debug)]
pub(super) enum StartPermit {
    /// Other attempts may start at the same time.
    Shared { _permit: OwnedRwLockReadGuard<()> },
    /// No other attempt starts.
    Alone { _permit: OwnedRwLockWriteGuard<()> },
}

impl StartPermit {
    pub const fn is_alone(&self) -> bool {
        matches!(self, Self::Alone { .. })
    }
}

impl Isolation {
    /// Waits while a suspect is in its first seconds.
    pub async fn shared(&self) -> StartPermit {
        StartPermit::Shared { _permit: Arc::clone(&self.0).read_owned().await }
    }

    /// Waits until no attempt is in its first seconds; `None` when that takes longer than 30 s.
    pub async fn alone(&self) -> Option<StartPermit> {
        let permit = tokio::time::timeout(MAX_ALONE_WAIT, Arc::clone(&self.0).write_owned()).await;
        permit.ok().map(|permit| StartPermit::Alone { _permit: permit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn suspect_starts_alone_or_gives_up_after_thirty_seconds() {
        let isolation = Isolation::default();
        let others = [isolation.shared().await, isolation.shared().await];
        assert!(isolation.alone().await.is_none());
        drop(others);
        let alone = isolation.alone().await.expect("no other attempt starts");
        let waited = tokio::time::timeout(MAX_ALONE_WAIT, isolation.shared()).await;
        assert!(waited.is_err(), "no attempt starts beside a suspect");
        drop(alone);
        let _shared = isolation.shared().await;
    }
}
