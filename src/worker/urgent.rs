//! Carries out urgent commands, such as `cancel`, while all slots are taken and other commands are queued before them. It
//! reads them in the queue without taking them off: the message is delivered later, like a second copy, and finds the
//! result. Knows the bus by its port only.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Engine;
use crate::bus;
use crate::task::SlotClass;

/// Between two looks at the queue.
const INTERVAL: Duration = Duration::from_secs(1);
/// Commands of one verb in one look.
const BATCH: usize = 16;

impl Engine {
    /// Looks for urgent commands in the queue until `stop`.
    pub(super) async fn run_urgent(self: Arc<Self>, stop: CancellationToken) {
        let urgent = self.registry.iter().filter(|task| task.slot_class() == SlotClass::Urgent);
        let mut seen: Vec<(&'static str, u64)> = urgent.map(|task| (task.verb(), 0)).collect();
        while !seen.is_empty() {
            tokio::select! { () = self.clock.sleep(INTERVAL) => {}, () = stop.cancelled() => return }
            for (verb, seen) in &mut seen {
                if let Err(error) = self.process_urgent(verb, seen).await {
                    tracing::debug!("the queue cannot be searched for {verb}: {error}");
                }
            }
        }
    }

    async fn process_urgent(self: &Arc<Self>, verb: &str, seen: &mut u64) -> Result<(), bus::Error> {
        for _ in 0..BATCH {
            let Some(delivery) = self.bus.peek(verb, *seen).await? else { break };
            *seen = delivery.sequence;
            // What is not a command is refused when it is delivered, and so is one that waits for an operator.
            if self.decode(&delivery).is_ok() {
                Box::pin(Arc::clone(self).handle(delivery)).await;
            }
        }
        Ok(())
    }
}
