//! Runs requests under the guard: reads end at once when the guard stops the task, writes are awaited.

use std::time::Duration;

use super::Error;
use crate::clock::Clock;
use crate::guard::{Guard, Stop};

/// Runs a future until it completes or the guard stops. For requests that change nothing.
pub(super) async fn guarded<T>(guard: &Guard, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::select! {
        biased;
        stop = guard.stopped() => Err(stop.into()),
        done = work => done,
    }
}

/// Runs a write to its end, which the limit of its request bounds: who gave up a command must not see it change the
/// cluster afterwards. Without the lease it is dropped; it may still have arrived, and doing it again is safe.
pub(super) async fn written<T>(guard: &Guard, write: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let _writing = guard.writing().await?;
    tokio::select! {
        biased;
        () = guard.lease_lost() => Err(Stop::LostLease.into()),
        done = write => done,
    }
}

/// Waits until the time has passed or the guard stops.
pub(super) async fn sleep(guard: &Guard, duration: Duration) -> Result<(), Error> {
    let clock = Clock::system();
    guarded(guard, async {
        clock.sleep(duration).await;
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::error::{Class, Classify};

    const WRITE: Duration = Duration::from_secs(2);

    fn guard(deadline: Duration) -> Guard {
        Guard::new(Instant::now() + deadline, 1, CancellationToken::new())
    }

    async fn write() -> Result<u32, Error> {
        tokio::time::sleep(WRITE).await;
        Ok(1)
    }

    #[tokio::test(start_paused = true)]
    async fn write_in_progress_completes_after_deadline_or_cancellation() {
        let guard = guard(WRITE / 4);
        guard.extend_lease(Instant::now() + WRITE * 2);
        let begun = Instant::now();
        let (written, ()) = tokio::join!(written(&guard, write()), async {
            assert_eq!(guard.stopped().await, Stop::Deadline);
            guard.cancel();
            guard.writes_finished().await;
        });
        assert_eq!((written.ok(), begun.elapsed()), (Some(1), WRITE));
        let next = super::written(&guard, write()).await.err().map(|error| error.class());
        assert_eq!((next, begun.elapsed()), (Some(Class::Cancelled), WRITE), "no other begins");
    }

    #[tokio::test(start_paused = true)]
    async fn write_in_progress_is_dropped_without_the_lease() {
        let guard = guard(WRITE * 9);
        let begun = Instant::now();
        guard.extend_lease(begun + WRITE / 2);
        guard.cancel();
        assert!(written(&guard, write()).await.is_err());
        assert_eq!(begun.elapsed(), Duration::ZERO, "it was cancelled before");
        let guard = self::guard(WRITE * 9);
        guard.extend_lease(begun + WRITE / 2);
        let error = written(&guard, write()).await.err();
        assert_eq!((error.map(|error| error.class()), begun.elapsed()), (Some(Class::LostLease), WRITE / 2));
        guard.writes_finished().await;
    }
}
