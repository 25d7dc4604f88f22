//! Passes the progress steps of a task to the engine, which publishes them as events, at most five in a second.

use std::time::Duration;

use tokio::sync::watch;

use crate::progress::{Progress, Step};

/// Least time between two progress events of a command.
const INTERVAL: Duration = Duration::from_millis(200);

/// For the task. Stores the newest step only.
pub struct Reporter(watch::Sender<Option<Step>>);

/// For the engine.
pub struct ProgressSteps {
    steps: watch::Receiver<Option<Step>>,
    /// The step that was returned last.
    last: Option<Step>,
}

/// Reporter and receiver of one attempt.
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
    /// The newest step, at the earliest [`INTERVAL`] after the one before. Never completes after the task has ended.
    pub async fn next(&mut self) -> Step {
        if self.last.is_some() {
            tokio::time::sleep(INTERVAL).await;
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

    /// The newest step, unless it was returned before.
    pub fn take_newest(&mut self) -> Option<Step> {
        let newest = self.steps.borrow_and_update().clone();
        if newest == self.last {
            return None;
        }
        self.last.clone_from(&newest);
        newest
    }
}
