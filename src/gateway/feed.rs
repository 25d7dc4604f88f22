//! Wakes requests that wait for a command. One reader follows both streams for the whole process, so that a waiting
//! request costs no consumer. It carries no events: a request that wakes up reads them itself, and misses none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::client::{Client, Error};
use crate::event::CommandKey;
use crate::web::feed;

/// Waiting requests by the key of their command.
#[derive(Default)]
pub(super) struct Subscribers {
    keys: Mutex<HashMap<CommandKey, watch::Sender<()>>>,
}

/// Wakes up for one command; removed when dropped.
pub(super) struct Subscription {
    subscribers: Arc<Subscribers>,
    key: CommandKey,
    changed: watch::Receiver<()>,
}

impl Subscribers {
    pub(super) fn subscribe(self: &Arc<Self>, key: &CommandKey) -> Subscription {
        let changed = self.keys().entry(key.clone()).or_insert_with(|| watch::Sender::new(())).subscribe();
        Subscription { subscribers: self.clone(), key: key.clone(), changed }
    }

    fn wake(&self, key: &CommandKey) {
        if let Some(sender) = self.keys().get(key) {
            sender.send_replace(());
        }
    }

    fn wake_all(&self) {
        self.keys().values().for_each(|sender| sender.send_replace(()));
    }

    fn keys(&self) -> MutexGuard<'_, HashMap<CommandKey, watch::Sender<()>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    /// Completes when something was published about the command since the last call.
    pub(super) async fn changed(&mut self) {
        // The sender is in the map as long as this subscription exists.
        let _ = self.changed.changed().await;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut keys = self.subscribers.keys();
        if keys.get(&self.key).is_some_and(|sender| sender.receiver_count() <= 1) {
            keys.remove(&self.key);
        }
    }
}

/// Follows the streams until `stop`. After an error it starts again and wakes all, which then look for themselves.
pub(super) async fn follow(client: Client, subscribers: Arc<Subscribers>, stop: CancellationToken) {
    feed::follow(stop, || once(&client, &subscribers)).await;
}

async fn once(client: &Client, subscribers: &Subscribers) -> Result<(), Error> {
    let mut changes = client.changes(OffsetDateTime::now_utc()).await?;
    subscribers.wake_all();
    while let Some(change) = changes.messages.next().await.transpose()? {
        if let Some(observation) = &change.observation {
            subscribers.wake(&observation.key);
        }
    }
    Ok(())
}
