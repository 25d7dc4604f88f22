//! The one source of time. Durations and timers are tokio's, so tests control them by pausing tokio's clock.
//! A clock of [`Clock::starting_at`] follows it too.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

/// The time of day, and sleeping.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// `None` reads the system's clock; otherwise the wall time that `started` stands for.
    origin: Option<(OffsetDateTime, Instant)>,
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub const fn system() -> Self {
        Self { origin: None }
    }

    /// A clock that shows `wall` now and moves with tokio's (pausable) time.
    #[must_use]
    pub fn starting_at(wall: OffsetDateTime) -> Self {
        Self { origin: Some((wall, Instant::now())) }
    }

    /// The time of day, UTC.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        match self.origin {
            None => OffsetDateTime::now_utc(),
            Some((wall, started)) => wall + started.elapsed(),
        }
    }

    /// The instant at which the time of day will be `wall`; now, when that is past.
    #[must_use]
    pub fn instant_of(&self, wall: OffsetDateTime) -> Instant {
        let ahead = wall - self.now();
        Instant::now() + Duration::try_from(ahead).unwrap_or_default()
    }

    /// Waits for `duration`.
    pub async fn sleep(&self, duration: Duration) {
        #[allow(clippy::disallowed_methods, reason = "here is where time passes")]
        tokio::time::sleep(duration).await;
    }
}
