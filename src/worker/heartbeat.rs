//! Tells the bus, from receipt to settlement, that a delivery is being worked on.

use std::time::Duration;

use crate::bus::Delivery;

/// Does the work and beats beside it, each third of `ack_wait`, at least 1 s apart. In the same task: a task of its own
/// costs each command a spawn and a wake-up of another thread, and what computes for long runs in a task of its own
/// anyway.
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
