//! Keeps for a person what will not be done: the dead letter, the event that tells of it, the count.

use super::Engine;
use super::quota::{CUT, LetterContent};
use crate::bus::{self, DeadLetter, DeadReason, Delivery};
use crate::error::Problem;
use crate::event::{self, DeadLettered, Origin};
use crate::failpoint::{Step, reach};
use crate::telemetry::metrics::{Reason, Word};

impl Engine {
    /// Leaves a dead letter and says so. Done before the result, which is the last that is heard of a command; a repeat
    /// is the same letter. A rejected message above the quota of its target has none.
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
                tracing::warn!(code = problem.code, subject = delivery.subject, "without a dead letter: {problem}");
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
        // Without the `s`, as before there was a waiting stream: a repeat must have the same id.
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

    /// How much of the message becomes a dead letter: a flood of rejected ones must not remove the others.
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
