//! Ends commands that NATS does not deliver again although they have no result. All workers do this; the first one publishes
//! the result. Uses the bus through its port.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Engine, Error};
use crate::bus::{self, DeadReason, Stranded, StrandedCause};
use crate::error::Problem;
use crate::event::{self, Outcome};
use crate::retry;

/// Commands of one request; they are rare.
const BATCH: usize = 16;
/// Longest time that a request waits.
const WAIT: Duration = Duration::from_secs(5);

impl Engine {
    /// Ends stranded commands until `stop`.
    pub async fn sweep(self: Arc<Self>, stop: CancellationToken) {
        let mut failures = 0;
        while !stop.is_cancelled() {
            let mut found = self.bus.stranded(BATCH, WAIT);
            let mut failed = false;
            while let Some(next) = tokio::select! { next = found.next() => next, () = stop.cancelled() => None } {
                let ended = match next {
                    Ok(stranded) => self.end_stranded(stranded).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = ended {
                    failed = true;
                    self.bus_failed("cannot end stranded commands; retrying", &error);
                }
            }
            failures = if failed { failures + 1 } else { 0 };
            if failed {
                let pause = retry::IN_PLACE.delay(failures, Some(Duration::from_secs(1)));
                tokio::select! { () = self.clock.sleep(pause) => {}, () = stop.cancelled() => {} }
            }
        }
    }

    /// Publishes a dead letter, and a result if the sender can be read; then removes the message. A command that has a result
    /// has its dead letter too.
    async fn end_stranded(&self, stranded: Stranded) -> Result<(), bus::Error> {
        let received = Instant::now();
        let Stranded { cause, delivery } = stranded;
        let (reason, outcome, error) = match cause {
            StrandedCause::MaxDeliveries => {
                let error = Error::MaxDeliveries { times: delivery.delivered };
                (DeadReason::MaxDeliveries, Outcome::Failed, error)
            }
            StrandedCause::Terminated { reason } => {
                (DeadReason::Terminated, Outcome::Failed, Error::Terminated { reason })
            }
            StrandedCause::Unreadable { reason } => {
                let error = event::Error::NotAnEvent { reason: format!("its headers cannot be read: {reason}") };
                (DeadReason::Rejected, Outcome::Rejected, error.into())
            }
        };
        let origin = delivery.address.as_ref().and_then(|(target, verb)| {
            match event::decode(target, verb, &delivery.header_pairs(), &delivery.payload) {
                Ok(command) => Some(command.origin),
                Err(rejection) => rejection.origin.map(|origin| *origin),
            }
        });
        // A client that schedules messages may lack the permission for the subject of the command.
        let origin = origin.filter(|origin| {
            !matches!(self.check_provenance(&delivery, Some(origin)), Err(Error::ForeignSchedule { .. }))
        });
        self.refuse(&delivery, origin.as_ref(), (reason, outcome), Problem::new(&error), received).await
    }
}
