//! How long to wait before another attempt: exponential with full jitter, always bounded. The only module that knows
//! the `backoff` crate, which jitters after its cap, so the result is clamped here.

use std::time::Duration;

use backoff::backoff::Backoff as _;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};

/// First delay, and the cap that no delay passes.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Upper bound of the first delay.
    pub first: Duration,
    /// Upper bound of every delay.
    pub cap: Duration,
}

/// Between attempts of a command.
pub const ATTEMPTS: Policy = Policy { first: Duration::from_secs(1), cap: Duration::from_mins(5) };

/// Between tries of one request to the bus.
pub const IN_PLACE: Policy = Policy { first: Duration::from_millis(100), cap: Duration::from_secs(5) };

impl Policy {
    /// The delay after attempt `attempt` (1 for the first): uniform in 0 … `first`·2^(attempt−1), at most `cap`. A
    /// delay that the other side named (`Retry-After`) is the floor, and capped too.
    #[must_use]
    pub fn delay(&self, attempt: u32, asked: Option<Duration>) -> Duration {
        let mut delays = self.delays();
        let mut delay = Duration::ZERO;
        for _ in 0..attempt.clamp(1, 32) {
            delay = delays.next_backoff().unwrap_or(self.cap);
        }
        delay.max(asked.unwrap_or_default()).min(self.cap)
    }

    /// Jitter of ±100 % around half the bound is full jitter below the bound.
    fn delays(&self) -> ExponentialBackoff {
        ExponentialBackoffBuilder::new()
            .with_initial_interval(self.first / 2)
            .with_max_interval(self.cap / 2)
            .with_multiplier(2.0)
            .with_randomization_factor(1.0)
            .with_max_elapsed_time(None)
            .build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn delay_never_passes_its_bounds(attempt in 0u32..100, asked in proptest::option::of(0u64..1000)) {
            let asked = asked.map(Duration::from_secs);
            let delay = ATTEMPTS.delay(attempt, asked);
            prop_assert!(delay <= ATTEMPTS.cap);
            prop_assert!(delay >= asked.unwrap_or_default().min(ATTEMPTS.cap));
            let bound = ATTEMPTS.first * 2u32.saturating_pow(attempt.saturating_sub(1).min(20));
            prop_assert!(delay <= bound.max(asked.unwrap_or_default()) + Duration::from_millis(1));
        }
    }

    #[test]
    fn delays_differ() {
        let delays: std::collections::HashSet<_> = (0..20).map(|_| ATTEMPTS.delay(5, None)).collect();
        assert!(delays.len() > 10);
    }
}
