//! No command begins while the bus refuses results: it would be executed, could not end, and would be executed again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::bus::{Error, Swap};

/// How long no command begins after a refusal. Then some begin and show whether results are stored again.
const PAUSE: Duration = Duration::from_secs(10);

/// Whether the bus refuses results.
#[derive(Debug, Default)]
pub(super) struct ResultPause(Mutex<Option<Instant>>);

impl ResultPause {
    /// Takes note of what the bus answered to a result.
    pub fn observe(&self, answer: &Result<Swap, Error>) {
        let refused = match answer {
            Ok(_) => None,
            Err(Error::Refused { .. }) => Some(Instant::now()),
            Err(_) => return,
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = refused;
    }

    /// Whether the bus has refused a result in the last 10 s and accepted none since.
    pub fn is_on(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|refused| refused.elapsed() < PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Result<Swap, Error> {
        Err(Error::Refused { operation: "publish", subject: String::new(), code: 10_077, description: String::new() })
    }

    #[tokio::test(start_paused = true)]
    async fn refused_result_pauses_commands_until_one_is_stored_or_10_seconds_have_passed() {
        let pause = ResultPause::default();
        assert!(!pause.is_on());
        pause.observe(&refused());
        assert!(pause.is_on());
        pause.observe(&Err(Error::NotFound { what: String::new() }));
        assert!(pause.is_on(), "another failure says nothing about the stream");
        pause.observe(&Ok(Swap::Won(1)));
        assert!(!pause.is_on());
        pause.observe(&refused());
        tokio::time::advance(PAUSE).await;
        assert!(!pause.is_on());
    }
}
