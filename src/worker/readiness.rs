//! Keeps `/readyz` true while a worker runs: what the bus refuses and denies as it is heard, the topology by looking.
//! Knows the NATS adapter, like `serve.rs`, which starts it.

use std::time::Duration;

use tokio::sync::watch::Sender;
use tokio_util::sync::CancellationToken;

use crate::bus::nats::{self, NatsBus};
use crate::bus::topology::Topology;
use crate::error::Problem;
use crate::health::Causes;

/// Between two looks at the topology while all is well.
const LOOK: Duration = Duration::from_secs(30);
/// And while it is not.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Tells the causes until it is dropped. What is refused stays a cause until it works again, or until a command that met
/// it would have been delivered twice more: then nobody asks for it any more.
pub(super) async fn watch(
    bus: NatsBus,
    topology: Topology,
    ack_wait: Duration,
    tell: Sender<Causes>,
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
        let pause = if causes.is_empty() { LOOK } else { LOOK_AGAIN };
        tell.send_if_modified(|told| {
            for cause in causes.iter().filter(|cause| !told.contains(cause)) {
                tracing::warn!("not ready: {cause}");
            }
            let changed = *told != causes;
            if changed && causes.is_empty() {
                tracing::info!("ready again");
            }
            *told = causes;
            changed
        });
        tokio::select! {
            changed = health.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {
                bus.forgive(2 * ack_wait + LOOK_AGAIN);
                let verified = nats::topology::verify(&bus, &topology).await;
                topology_cause = verified.err().map(|error| Problem::new(&error).to_string());
            }
            () = stop.cancelled(), if !stop.is_cancelled() => {}
        }
    }
}
