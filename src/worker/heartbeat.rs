//! Sends `+WPI` (work in progress) for a delivery from its receipt to its settlement, so that NATS does not deliver it again.

use std::time::Duration;

use crate::bus::Delivery;

/// Runs `work`, and sends a heartbeat each third of `ack_wait`, but not more often than each second. Both run in the same
/// task of the runtime: another task would cost each command a spawn and a wake-up of another thread, and long computations
/// run in their own task anyway.
pub async fn beside<T>(delivery: &Delivery, ack_wait: Duration, work: impl Future<Output = T>) -> T {
    let pause = (ack_wait / 3).max(Duration::from_secs(1));
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::time::sleep(pause) => {}
        }
        tokio::select! {
            biased;
            done = &mut work => return done,
            beat = delivery.acker.keep_alive() => if let Err(error) = beat {
                tracing::debug!("heartbeat: {error}");
            },
        }
    }
}
