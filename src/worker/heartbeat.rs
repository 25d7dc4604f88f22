//! Tells the bus, from receipt to settlement, that a delivery is being worked on.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;

use crate::bus::{Acker, Delivery};

/// Beats until dropped.
pub struct Heartbeat(AbortHandle);

impl Heartbeat {
    /// Beats each third of `ack_wait`, at least 1 s apart.
    #[must_use]
    pub fn start(delivery: &Delivery, ack_wait: Duration) -> Self {
        let acker: Arc<dyn Acker> = Arc::clone(&delivery.acker);
        let pause = (ack_wait / 3).max(Duration::from_secs(1));
        let beats = tokio::spawn(async move {
            loop {
                tokio::time::sleep(pause).await;
                if let Err(error) = acker.keep_alive().await {
                    tracing::debug!("heartbeat: {error}");
                }
            }
        });
        Self(beats.abort_handle())
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.0.abort();
    }
}
