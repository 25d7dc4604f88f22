//! Follows the streams of events and results until a server stops.

use std::fmt::Display;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::retry;

/// The delay grows up to this number of failures.
const MOST: u32 = 8;

/// Calls `once`, which follows the streams to their end, again after each end and error until `stop`.
pub(crate) async fn follow<E: Display, F: Future<Output = Result<(), E>>>(
    stop: CancellationToken,
    once: impl Fn() -> F,
) {
    let followed = async {
        let mut failures = 0;
        loop {
            failures = MOST.min(failures + 1);
            match once().await {
                Ok(()) => tracing::warn!("the streams of events and results ended; they are read again"),
                Err(error) => tracing::warn!("cannot follow events and results: {error}"),
            }
            Clock::system().sleep(retry::IN_PLACE.delay(failures, None)).await;
        }
    };
    tokio::select! {
        () = followed => {}
        () = stop.cancelled() => {}
    }
}
