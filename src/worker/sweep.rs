//! Ends commands that NATS does not deliver again although they have no result. All workers do this; the first one publishes
//! the result. Uses the bus through its port.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::conclude::ReplyState;
use super::{Engine, Error, provenance};
use crate::bus::{self, DeadReason, Queue, RecordKey, Settlement, Stranded, StrandedCause};
use crate::error::{Classify, Problem};
use crate::event::{self, Outcome, ResultData};
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
        // As in `Engine::decode`: a client that schedules messages may lack the permission for the subject of the command.
        let origin = origin.filter(|origin| {
            let schedule = self.bus.subjects().schedule(&origin.command());
            let schedule = Some(schedule.as_str()).filter(|_| delivery.queue == Queue::Waiting);
            !matches!(provenance::check(delivery.header_pairs(), schedule), Err(Error::ForeignSchedule { .. }))
        });
        let reply = match &origin {
            Some(origin) => self.reply_state(origin).await?,
            None => ReplyState::Forbidden,
        };
        if reply == ReplyState::Published {
            return self.settle_duplicate(&delivery).await;
        }
        let origin = origin.filter(|_| reply == ReplyState::Allowed);
        let problem = Problem::new(&error);
        tracing::warn!(code = %error.code(), subject = delivery.subject, "stranded: {problem}");
        self.publish_dead_letter(&delivery, origin.as_ref(), reason, &problem).await?;
        if let Some(origin) = &origin {
            let (record, _) = self.bus.attempts(&RecordKey::command(&origin.command())).await?;
            let result = ResultData {
                outcome,
                changed: record.changed(),
                report: None,
                error: Some(problem),
                attempts: record.attempts,
                earlier_attempts: record.failed,
                fence: 0,
                worker: self.settings.worker.clone(),
                ended: event::rfc3339(self.clock.now()),
            };
            self.commit(origin, &result).await?;
        }
        let verb = origin.as_ref().and_then(|origin| self.task(&origin.verb));
        self.metrics.ended(verb.map_or("unknown", |(task, _)| task.verb()), outcome.as_str(), received.elapsed());
        delivery.acker.settle(Settlement::Ack).await
    }
}
