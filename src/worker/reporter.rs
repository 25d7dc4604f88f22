//! Turns a task's steps into progress events, at a pace a watcher can read.

use std::time::Duration;

use tokio::sync::watch;

use crate::progress::{Progress, Step};

/// Least time between two progress events of one command.
const PACE: Duration = Duration::from_millis(200);

/// The task's end: keeps the newest step only.
pub struct Reporter(watch::Sender<Option<Step>>);

/// The engine's end.
pub struct Steps {
    steps: watch::Receiver<Option<Step>>,
    told: Option<Step>,
}

/// A pair for one attempt.
#[must_use]
pub fn pair() -> (Reporter, Steps) {
    let (sender, steps) = watch::channel(None);
    (Reporter(sender), Steps { steps, told: None })
}

impl Progress for Reporter {
    fn report(&self, step: Step) {
        self.0.send_replace(Some(step));
    }
}

impl Steps {
    /// The newest step, not sooner after the last one than the pace allows. Pends for ever when the task is gone.
    pub async fn next(&mut self) -> Step {
        if self.told.is_some() {
            tokio::time::sleep(PACE).await;
        }
        loop {
            if self.steps.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            if let Some(step) = self.untold() {
                return step;
            }
        }
    }

    /// The newest step, if it has not been told.
    pub fn untold(&mut self) -> Option<Step> {
        let newest = self.steps.borrow_and_update().clone();
        if newest == self.told {
            return None;
        }
        self.told.clone_from(&newest);
        newest
    }
}
