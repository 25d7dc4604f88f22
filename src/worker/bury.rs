//! Keeps for a person what will not be done: the dead letter, the event that tells of it, the count.

use super::Engine;
use crate::bus::{self, DeadLetter, DeadReason, Delivery};
use crate::error::Problem;
use crate::event::{self, DeadLettered, Origin};
use crate::failpoint::{Step, reach};
use crate::telemetry::metrics::{Reason, Word};

impl Engine {
    /// Leaves a dead letter and says so. Done before the result, which is the last that is heard of a command; a repeat
    /// is the same letter.
    pub(super) async fn bury(
        &self,
        delivery: &Delivery,
        origin: Option<&Origin>,
        reason: DeadReason,
        problem: &Problem,
    ) -> Result<(), bus::Error> {
        let time = self.clock.now();
        let key = origin.map(|origin| &origin.key);
        let letter = DeadLetter { delivery, key, reason, problem, worker: &self.settings.worker, time };
        self.bus.dead_letter(&letter).await?;
        reach(Step::Buried);
        self.metrics.dead_letters.get_or_create(&Reason { reason: Word(reason.as_str()) }).inc();
        let data = DeadLettered {
            reason: reason.as_str().to_owned(),
            problem: problem.clone(),
            subject: delivery.subject.clone(),
            deliveries: delivery.delivered,
            worker: self.settings.worker.clone(),
        };
        let id = format!("{}.{}.dlq", letter.address().1, letter.place().trim_start_matches('s'));
        match event::dead_letter_event(origin, &id, time, &data) {
            Ok(event) => {
                if let Err(error) = self.bus.tell_dead_letter(&letter, &event).await {
                    self.bus_failed("the event of a dead letter is lost", &error);
                }
            }
            Err(error) => tracing::error!("an event could not be built: {error}"),
        }
        Ok(())
    }
}
