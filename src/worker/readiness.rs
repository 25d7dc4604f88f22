//! Keeps `/readyz` up to date while a worker runs: errors of NATS as they occur, the topology at an interval. Uses the NATS
//! adapter, like `serve.rs`, which starts it.

use std::time::Duration;

use tokio::sync::watch::{Receiver, Sender};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bus::nats::{self, Health, NatsBus};
use crate::bus::topology::Topology;
use crate::error::Problem;
use crate::health::Causes;

/// Between two checks of the topology while the worker is ready.
const INTERVAL: Duration = Duration::from_secs(30);
/// Between two checks while it is not.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// Between two reports of one outage.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// Updates the causes until it is dropped. A refused request is a cause until the same request succeeds, or until a command
/// that needs it would have been delivered twice more: then no command needs it any more.
pub(super) async fn watch(
    bus: NatsBus,
    topology: Topology,
    ack_wait: Duration,
    reported: Sender<Causes>,
    stop: CancellationToken,
) {
    let mut health = bus.health();
    let mut topology_cause = None;
    loop {
        let mut causes = Vec::new();
        {
            let health = health.borrow_and_update();
            causes.extend(health.disconnected());
            causes.extend(health.refused.values().map(|refusal| refusal.text.clone()));
        }
        causes.extend(topology_cause.clone());
        if stop.is_cancelled() {
            causes.push("stopping".to_owned());
        }
        let pause = if causes.is_empty() { INTERVAL } else { RETRY_INTERVAL };
        reported.send_if_modified(|known| {
            for cause in causes.iter().filter(|cause| !known.contains(cause)) {
                tracing::warn!("not ready: {cause}");
            }
            let changed = *known != causes;
            if changed && causes.is_empty() {
                tracing::info!("ready again");
            }
            *known = causes;
            changed
        });
        tokio::select! {
            changed = health.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {
                bus.expire_refusals(2 * ack_wait + RETRY_INTERVAL);
                let verified = nats::topology::verify(&bus, &topology).await;
                topology_cause = verified.err().map(|error| Problem::new(&error).to_string());
            }
            () = stop.cancelled(), if !stop.is_cancelled() => {}
        }
    }
}

/// Reports the length and the cause of an outage every 10 seconds while it lasts. Returns when `stop` is cancelled.
pub(super) async fn report_outages(
    mut health: Receiver<Health>,
    stop: CancellationToken,
    report: impl Fn(Duration, String),
) {
    let reports = async {
        while health.wait_for(|health| !health.connected).await.is_ok() {
            let began = Instant::now();
            loop {
                let is_over = health.wait_for(|health| health.connected);
                if tokio::time::timeout(REPORT_INTERVAL, is_over).await.is_ok() {
                    break;
                }
                if let Some(cause) = health.borrow().disconnected() {
                    report(began.elapsed(), cause);
                }
            }
        }
    };
    tokio::select! { () = reports => {}, () = stop.cancelled() => {} }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::watch;

    use super::*;

    /// Before: one line at the beginning, then silence.
    #[tokio::test(start_paused = true)]
    async fn outage_is_reported_until_it_ends() {
        let (health, reader) = watch::channel(Health { connected: true, ..Health::default() });
        let stop = CancellationToken::new();
        let reported = Mutex::new(Vec::new());
        let note = |after: Duration, _| reported.lock().unwrap().push(after.as_secs());
        let outage = async {
            tokio::time::advance(Duration::from_mins(1)).await;
            health.send_modify(|health| health.connected = false);
            // A failed try to connect changes the cause and must not delay the next report.
            for _ in 0..5 {
                tokio::time::timeout(Duration::from_secs(7), std::future::pending::<()>()).await.unwrap_err();
                health.send_modify(|health| health.connect_error = Some("refused".to_owned()));
            }
            health.send_modify(|health| health.connected = true);
            tokio::time::timeout(Duration::from_mins(1), std::future::pending::<()>()).await.unwrap_err();
            stop.cancel();
        };
        tokio::join!(report_outages(reader, stop.clone(), note), outage);
        assert_eq!(*reported.lock().unwrap(), [10, 20, 30]);
    }
}
