//! Turns a task's steps into progress events, at a pace a watcher can read.

use std::time::Duration;

use tokio::sync::watch;

use crate::progress::{Progress, Step};

/// Least time between two progress events of one command.
const PACE: Duration = Duration::from_millis(200);

/// The task's end: keeps the newest step only.
pub struct Reporter(watch::Sender<Option<Step>>);

/// The engine's end.
pub struct ProgressSteps {
    steps: watch::Receiver<Option<Step>>,
    last: Option<Step>,
}

/// A pair for one attempt.
#[must_use]
pub fn pair() -> (Reporter, ProgressSteps) {
    let (sender, steps) = watch::channel(None);
    (Reporter(sender), ProgressSteps { steps, last: None })
}

impl Progress for Reporter {
    fn report(&self, step: Step) {
        self.0.send_replace(Some(step));
    }
}

impl ProgressSteps {
    /// The newest step, not sooner after the last one than the pace allows. Pends for ever when the task is gone.
    pub async fn next(&mut self) -> Step {
        if self.last.is_some() {
            tokio::time::sleep(PACE).await;
        }
        loop {
            if self.steps.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            if let Some(step) = self.take_newest() {
                return step;
            }
        }
    }

    /// The newest step, if it was not returned before.
    pub fn take_newest(&mut self) -> Option<Step> {
        let newest = self.steps.borrow_and_update().clone();
        if newest == self.last {
            return None;
        }
        self.last.clone_from(&newest);
        newest
    }
}
