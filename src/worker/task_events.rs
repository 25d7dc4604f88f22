//! Takes a task's events to the engine, which publishes them, and the answer back.

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use crate::task_event::{PublishError, TaskEvent, TaskEvents};

type Answer = oneshot::Sender<Result<(), PublishError>>;

/// The task's end.
pub struct EventSender(mpsc::Sender<(TaskEvent, Answer)>);

/// The engine's end.
pub struct EventReceiver(mpsc::Receiver<(TaskEvent, Answer)>);

/// A pair for one attempt.
#[must_use]
pub fn pair() -> (EventSender, EventReceiver) {
    let (sender, receiver) = mpsc::channel(1);
    (EventSender(sender), EventReceiver(receiver))
}

#[async_trait]
impl TaskEvents for EventSender {
    async fn publish(&self, event: TaskEvent) -> Result<(), PublishError> {
        let (answer, told) = oneshot::channel();
        let ended = || PublishError { reason: "the attempt is over".to_owned() };
        self.0.send((event, answer)).await.map_err(|_| ended())?;
        told.await.map_err(|_| ended())?
    }
}

impl EventReceiver {
    /// The next event, and who waits for what became of it. Pends for ever when the task is gone.
    pub async fn next(&mut self) -> (TaskEvent, Answer) {
        match self.0.recv().await {
            Some(next) => next,
            None => std::future::pending().await,
        }
    }
}
