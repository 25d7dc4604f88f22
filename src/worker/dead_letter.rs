//! Publishes the dead letter of a message that is not executed, or not again; its event, and its metric.

use super::Engine;
use super::quota::{CUT, LetterContent};
use crate::bus::{self, DeadLetter, DeadReason, Delivery};
use crate::error::Problem;
use crate::event::{self, DeadLettered, Origin};
use crate::failpoint::{Step, reach};
use crate::telemetry::metrics::{Reason, Word};

impl Engine {
    /// Publishes the dead letter of a message, and its event. Called before the result is published, because the result is
    /// the last message of a command. A repeated call stores the same letter. A rejected message above the quota of its
    /// target gets no dead letter.
    pub(super) async fn publish_dead_letter(
        &self,
        delivery: &Delivery,
        origin: Option<&Origin>,
        reason: DeadReason,
        problem: &Problem,
    ) -> Result<(), bus::Error> {
        let time = self.clock.now();
        let key = origin.map(|origin| &origin.key);
        let most_bytes = match self.admit_letter(delivery, reason) {
            LetterContent::Full => None,
            LetterContent::Truncated => Some(CUT),
            LetterContent::Omitted => {
                self.metrics.dropped_dead_letters.inc();
                tracing::warn!(
                    code = problem.code,
                    subject = delivery.subject,
                    "no dead letter, because the quota of the target is used up: {problem}"
                );
                return Ok(());
            }
        };
        let worker = &self.settings.worker;
        let letter = DeadLetter { delivery, key, reason, problem, worker, time, most_bytes };
        self.bus.dead_letter(&letter).await?;
        reach(Step::DeadLettered);
        self.metrics.dead_letters.get_or_create(&Reason { reason: Word(reason.as_str()) }).inc();
        let data = DeadLettered {
            reason: reason.as_str().to_owned(),
            problem: problem.clone(),
            subject: delivery.subject.clone(),
            deliveries: delivery.delivered,
            worker: self.settings.worker.clone(),
        };
        // Without the `s`, as in versions before the waiting stream, because a repeat must have the same id.
        let id = format!("{}.{}.dlq", letter.address().1, letter.place().trim_start_matches('s'));
        match event::dead_letter_event(origin, &id, time, &data) {
            Ok(event) => {
                if let Err(error) = self.bus.publish_dead_letter_event(&letter, &event).await {
                    self.bus_failed("the event of a dead letter is lost", &error);
                }
            }
            Err(error) => tracing::error!("an event could not be built: {error}"),
        }
        Ok(())
    }

    /// How much of the message is stored. A flood of rejected messages must not displace other dead letters.
    fn admit_letter(&self, delivery: &Delivery, reason: DeadReason) -> LetterContent {
        if reason != DeadReason::Rejected {
            return LetterContent::Full;
        }
        let target = delivery.address.as_ref().map(|(target, _)| target.as_str());
        let headers: usize = delivery.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.dead_letter_quota
            .admit(target.filter(|target| self.clusters.knows(target)), delivery.payload.len() + headers)
    }
}
