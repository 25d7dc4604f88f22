//! Work that ends at once when the guard says stop. Knows no cluster.

use std::time::Duration;

use super::Error;
use crate::clock::Clock;
use crate::guard::Guard;

/// Runs until it is done or the guard says stop: the client's own retries must not outlive the lease. What was under
/// way may still have arrived; doing it again is safe.
pub(super) async fn guarded<T>(guard: &Guard, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::select! {
        biased;
        stop = guard.stopped() => Err(stop.into()),
        done = work => done,
    }
}

/// Waits, unless the guard says stop.
pub(super) async fn sleep(guard: &Guard, duration: Duration) -> Result<(), Error> {
    let clock = Clock::system();
    guarded(guard, async {
        clock.sleep(duration).await;
        Ok(())
    })
    .await
}
