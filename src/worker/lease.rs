//! Holds an installation's lease while a task runs, and tells its guard how long it may write.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::bus::{self, Bus, Lease, LeaseName};
use crate::guard::Guard;

/// Writes stop so long before the bus lets the lease go, for what is on its way by then. At most a quarter of it.
const MARGIN: Duration = Duration::from_secs(5);

/// A lease that renews itself until it is released.
pub struct HeldLease {
    bus: Arc<dyn Bus>,
    lease: Arc<Mutex<Lease>>,
    /// Monotone over all holders; goes with every write.
    pub fence: u64,
    acquired: Instant,
    ttl: Duration,
    renewals: Option<JoinHandle<()>>,
}

impl HeldLease {
    /// Takes the lease; `None` when somebody holds it.
    ///
    /// # Errors
    /// When the bus cannot be asked.
    pub async fn acquire(
        bus: &Arc<dyn Bus>,
        name: &LeaseName,
        owner: &str,
        ttl: Duration,
    ) -> Result<Option<Self>, bus::Error> {
        let acquired = Instant::now();
        let Some(lease) = bus.acquire(name, owner).await? else { return Ok(None) };
        let fence = lease.fence;
        let lease = Arc::new(Mutex::new(lease));
        Ok(Some(Self { bus: Arc::clone(bus), lease, fence, acquired, ttl, renewals: None }))
    }

    /// Renews every third of the time to live from now on. A renewal counts from when it was sent.
    pub fn keep(&mut self, guard: &Guard, owner: &str) {
        let valid = self.ttl.saturating_sub(MARGIN.min(self.ttl / 4));
        guard.extend_lease(self.acquired + valid);
        let (bus, lease, guard, owner) =
            (Arc::clone(&self.bus), Arc::clone(&self.lease), guard.clone(), owner.to_owned());
        let pause = self.ttl / 3;
        self.renewals = Some(tokio::spawn(async move {
            loop {
                tokio::time::sleep(pause).await;
                let sent = Instant::now();
                // Held during the request: whoever uses the lease next needs its new revision.
                let mut held = lease.lock().await;
                match bus.renew(&held, &owner).await {
                    Ok(Some(renewed)) => {
                        *held = renewed;
                        guard.extend_lease(sent + valid);
                    }
                    Ok(None) => return guard.lose_lease(),
                    // The guard runs out by itself if this goes on.
                    Err(error) => tracing::warn!("cannot renew the lease on {}: {error}", held.name.installation),
                }
            }
        }));
    }

    /// Whether the lease is still held on the bus, found out by renewing it.
    ///
    /// # Errors
    /// When the bus cannot be asked.
    pub async fn is_held(&self, owner: &str) -> Result<bool, bus::Error> {
        let mut held = self.lease.lock().await;
        let renewed = self.bus.renew(&held, owner).await?;
        let is_held = renewed.is_some();
        *held = renewed.unwrap_or_else(|| held.clone());
        Ok(is_held)
    }

    /// Gives the lease back. What cannot be given back runs out.
    pub async fn release(mut self) {
        if let Some(renewals) = self.renewals.take() {
            // A renewal on its way would change the revision under the release.
            renewals.abort();
            let _ = renewals.await;
        }
        let held = self.lease.lock().await;
        if let Err(error) = self.bus.release(&held).await {
            tracing::debug!("the lease on {} runs out instead of being released: {error}", held.name.installation);
        }
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        if let Some(renewals) = &self.renewals {
            renewals.abort();
        }
    }
}
