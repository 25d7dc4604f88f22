//! Takes a task's notices to the engine, which publishes them, and the answer back.

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use crate::notice::{Notice, Notices, Untold};

type Answer = oneshot::Sender<Result<(), Untold>>;

/// The task's end.
pub struct Notifier(mpsc::Sender<(Notice, Answer)>);

/// The engine's end.
pub struct Noted(mpsc::Receiver<(Notice, Answer)>);

/// A pair for one attempt.
#[must_use]
pub fn pair() -> (Notifier, Noted) {
    let (sender, receiver) = mpsc::channel(1);
    (Notifier(sender), Noted(receiver))
}

#[async_trait]
impl Notices for Notifier {
    async fn tell(&self, notice: Notice) -> Result<(), Untold> {
        let (answer, told) = oneshot::channel();
        let ended = || Untold { reason: "the attempt is over".to_owned() };
        self.0.send((notice, answer)).await.map_err(|_| ended())?;
        told.await.map_err(|_| ended())?
    }
}

impl Noted {
    /// The next notice, and who waits for what became of it. Pends for ever when the task is gone.
    pub async fn next(&mut self) -> (Notice, Answer) {
        match self.0.recv().await {
            Some(noted) => noted,
            None => std::future::pending().await,
        }
    }
}
