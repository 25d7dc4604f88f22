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

    /// Takes `cost`. A cost above the burst is allowed when the bucket is not empty; later requests then wait for it.
    /// A cost of 0 is always allowed.
    ///
    /// # Errors
    /// How long until the next request is allowed.
    pub(super) fn take(&self, cost: u32) -> Result<(), Duration> {
        if cost == 0 {
            return Ok(());
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let left = (state.0 + now.duration_since(state.1).as_secs_f64() * self.rate).min(self.burst);
        if left < 1.0 {
            *state = (left, now);
            return Err(Duration::from_secs_f64((1.0 - left) / self.rate));
        }
        *state = (left - f64::from(cost), now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bucket_refills_with_time() {
        let bucket = Bucket::new(2, 3);
        for _ in 0..3 {
            assert!(bucket.take(1).is_ok());
        }
        assert_eq!(bucket.take(1), Err(Duration::from_millis(500)));
        tokio::time::advance(Duration::from_millis(500)).await;
        assert!(bucket.take(1).is_ok() && bucket.take(1).is_err());
    }

    /// Before: a batch with one event, and a hook with one command, needed two tokens.
    #[tokio::test(start_paused = true)]
    async fn nothing_is_allowed_on_an_empty_bucket() {
        let bucket = Bucket::new(10, 1);
        assert!(bucket.take(1).is_ok());
        assert!(bucket.take(0).is_ok() && bucket.take(1).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn batch_above_the_burst_delays_later_requests() {
        let bucket = Bucket::new(10, 5);
        assert!(bucket.take(20).is_ok());
        assert_eq!(bucket.take(1), Err(Duration::from_millis(1_600)));
    }
}
