//! A token bucket for each principal.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Refills with `rate` per second up to `burst`.
pub(super) struct Bucket {
    rate: f64,
    burst: f64,
    state: Mutex<(f64, Instant)>,
}

impl Bucket {
    pub(super) fn new(rate: u32, burst: u32) -> Self {
        let (rate, burst) = (f64::from(rate), f64::from(burst));
        Self { rate, burst, state: Mutex::new((burst, Instant::now())) }
    }

    /// Takes one token.
    ///
    /// # Errors
    /// How long until the next request is allowed.
    pub(super) fn take(&self) -> Result<(), Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let left = (state.0 + now.duration_since(state.1).as_secs_f64() * self.rate).min(self.burst);
        if left < 1.0 {
            *state = (left, now);
            return Err(Duration::from_secs_f64((1.0 - left) / self.rate));
        }
        *state = (left - 1.0, now);
        Ok(())
    }

    /// Takes further tokens for a request that has been admitted, also those that are not there yet: later requests wait
    /// for them.
    pub(super) fn charge(&self, cost: u32) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 -= f64::from(cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bucket_refills_with_time() {
        let bucket = Bucket::new(2, 3);
        for _ in 0..3 {
            assert!(bucket.take().is_ok());
        }
        assert_eq!(bucket.take(), Err(Duration::from_millis(500)));
        tokio::time::advance(Duration::from_millis(500)).await;
        assert!(bucket.take().is_ok() && bucket.take().is_err());
    }

    /// Before: the second event of a batch found the bucket empty, whatever the pause before the request.
    #[tokio::test(start_paused = true)]
    async fn batch_is_admitted_with_its_first_event_and_delays_later_requests() {
        for (burst, rest, wait) in [(1, 1, 200), (5, 19, 1_600)] {
            let bucket = Bucket::new(10, burst);
            assert!(bucket.take().is_ok());
            bucket.charge(rest);
            assert_eq!(bucket.take(), Err(Duration::from_millis(wait)), "burst {burst}");
            tokio::time::advance(Duration::from_millis(wait)).await;
            assert!(bucket.take().is_ok());
        }
    }
}
