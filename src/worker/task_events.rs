//! Passes the events of a task to the engine, which publishes them, and returns whether each one was stored.

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use crate::task_event::{PublishError, TaskEvent, TaskEvents};

/// Where the task waits until its event is stored.
type Stored = oneshot::Sender<Result<(), PublishError>>;

/// For the task.
pub struct EventSender(mpsc::Sender<(TaskEvent, Stored)>);

/// For the engine.
pub struct EventReceiver(mpsc::Receiver<(TaskEvent, Stored)>);

/// Sender and receiver of one attempt.
#[must_use]
pub fn pair() -> (EventSender, EventReceiver) {
    let (sender, receiver) = mpsc::channel(1);
    (EventSender(sender), EventReceiver(receiver))
}

#[async_trait]
impl TaskEvents for EventSender {
    async fn publish(&self, event: TaskEvent) -> Result<(), PublishError> {
        let (sender, stored) = oneshot::channel();
        let ended = || PublishError { reason: "the attempt has ended".to_owned() };
        self.0.send((event, sender)).await.map_err(|_| ended())?;
        stored.await.map_err(|_| ended())?
    }
}

impl EventReceiver {
    /// The next event, and where to send whether it was stored. Never completes after the task has ended.
    pub async fn next(&mut self) -> (TaskEvent, Stored) {
        match self.0.recv().await {
            Some(next) => next,
            None => std::future::pending().await,
        }
    }
}
