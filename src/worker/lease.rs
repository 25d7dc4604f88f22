//! Holds the lease of an installation while a task runs, renews it, and extends the time in which the guard permits writes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::bus::{self, Bus, Lease, LeaseName};
use crate::guard::Guard;

/// Writes stop this long before the lease expires on the bus, so that requests that were sent before have arrived. At most
/// a quarter of the time to live.
const MARGIN: Duration = Duration::from_secs(5);

/// A lease. It is renewed until it is released or dropped.
pub struct HeldLease {
    bus: Arc<dyn Bus>,
    lease: Arc<Mutex<Lease>>,
    /// The installation.
    pub installation: String,
    /// Revision of the lease, which increases with each holder. Each write to the cluster carries it.
    pub fence: u64,
    acquired: Instant,
    ttl: Duration,
    renewals: Option<JoinHandle<()>>,
}

impl HeldLease {
    /// Acquires the lease; `None` when another command holds it.
    ///
    /// # Errors
    /// When the request to the bus fails.
    pub async fn acquire(
        bus: &Arc<dyn Bus>,
        name: &LeaseName,
        owner: &str,
        ttl: Duration,
    ) -> Result<Option<Self>, bus::Error> {
        let acquired = Instant::now();
        let Some(lease) = bus.acquire(name, owner).await? else { return Ok(None) };
        let (fence, installation) = (lease.fence, name.installation.clone());
        let lease = Arc::new(Mutex::new(lease));
        Ok(Some(Self { bus: Arc::clone(bus), lease, installation, fence, acquired, ttl, renewals: None }))
    }

    /// Renews the lease each third of its time to live from now on. A renewal is valid from the time at which it was sent.
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
                // Locked during the request, because the next user of the lease needs its new revision.
                let mut held = lease.lock().await;
                match bus.renew(&held, &owner).await {
                    Ok(Some(renewed)) => {
                        *held = renewed;
                        guard.extend_lease(sent + valid);
                    }
                    Ok(None) => return guard.lose_lease(),
                    // The guard expires if this continues.
                    Err(error) => tracing::warn!("cannot renew the lease on {}: {error}", held.name.installation),
                }
            }
        }));
    }

    /// Whether this worker still holds the lease. Renews it.
    ///
    /// # Errors
    /// When the request to the bus fails.
    pub async fn is_held(&self, owner: &str) -> Result<bool, bus::Error> {
        let mut held = self.lease.lock().await;
        let renewed = self.bus.renew(&held, owner).await?;
        let is_held = renewed.is_some();
        *held = renewed.unwrap_or_else(|| held.clone());
        Ok(is_held)
    }

    /// Releases the lease. If that fails, the lease expires.
    pub async fn release(mut self) {
        if let Some(renewals) = self.renewals.take() {
            // A renewal at the same time would change the revision of the lease.
            renewals.abort();
            let _ = renewals.await;
        }
        let held = self.lease.lock().await;
        if let Err(error) = self.bus.release(&held).await {
            tracing::debug!("cannot release the lease on {}, which expires instead: {error}", held.name.installation);
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
