//! Waits for something that another process does in its own time.

use std::time::Duration;

use tokio::time::Instant;

/// How often is asked.
const EVERY: Duration = Duration::from_millis(25);

/// Asks until the answer is `Some`, and returns what it holds.
///
/// # Panics
/// When there is no such answer `within` the given time; `what` then says what was waited for.
pub async fn eventually<T, Ask>(what: &str, within: Duration, ask: Ask) -> T
where
    Ask: AsyncFn() -> Option<T>,
{
    let end = Instant::now() + within;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < end, "not within {within:?}: {what}");
        tokio::time::sleep(EVERY).await;
    }
}
