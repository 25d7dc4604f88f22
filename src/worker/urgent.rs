//! Executes urgent commands, such as `cancel`, while all slots are in use and other commands are queued before them. Reads
//! them from the stream without a delivery: the later delivery of the same message finds the result, like a copy. Uses the
//! bus through its port only.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Engine;
use crate::bus;
use crate::task::SlotClass;

/// Between two reads of the stream.
const INTERVAL: Duration = Duration::from_secs(1);
/// Maximum number of commands of one verb in one read.
const BATCH: usize = 16;

impl Engine {
    /// Executes urgent commands until `stop`.
    pub(super) async fn run_urgent(self: Arc<Self>, stop: CancellationToken) {
        let urgent = self.registry.iter().filter(|task| task.slot_class() == SlotClass::Urgent);
        let mut seen: Vec<(&'static str, u64)> = urgent.map(|task| (task.verb(), 0)).collect();
        while !seen.is_empty() {
            tokio::select! { () = self.clock.sleep(INTERVAL) => {}, () = stop.cancelled() => return }
            for (verb, seen) in &mut seen {
                if let Err(error) = self.process_urgent(verb, seen).await {
                    tracing::debug!("cannot read queued commands of {verb}: {error}");
                }
            }
        }
    }

    /// Executes the queued commands of one verb after sequence number `seen`.
    async fn process_urgent(self: &Arc<Self>, verb: &str, seen: &mut u64) -> Result<(), bus::Error> {
        for _ in 0..BATCH {
            let Some(delivery) = self.bus.peek(verb, *seen).await? else { break };
            *seen = delivery.sequence;
            // A message that is not a valid command is rejected when it is delivered.
            if self.decode(&delivery).is_ok() {
                Box::pin(Arc::clone(self).handle(delivery)).await;
            }
        }
        Ok(())
    }
}
