//! Keeps the index up to date with the streams of events and results.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use time::OffsetDateTime;

use super::Shared;
use crate::client::Error;
use crate::clock::Clock;
use crate::retry;

/// Follows the streams until the dashboard stops. After an error it reads them again; changes that the index has are
/// skipped by their sequence.
pub(super) async fn follow(shared: Arc<Shared>, since: Duration) {
    let stop = shared.stop.clone();
    let followed = async {
        let mut failures = 0;
        loop {
            failures += 1;
            match once(&shared, since).await {
                Ok(()) => tracing::warn!("the streams ended; they are read again"),
                Err(error) => tracing::warn!("cannot follow events and results: {error}"),
            }
            Clock::system().sleep(retry::IN_PLACE.delay(failures.min(8), None)).await;
        }
    };
    tokio::select! {
        () = followed => {}
        () = stop.cancelled() => {}
    }
}

async fn once(shared: &Shared, since: Duration) -> Result<(), Error> {
    let from = OffsetDateTime::now_utc().checked_sub(since.try_into().unwrap_or_default());
    let mut changes = shared.client.changes(from.unwrap_or(OffsetDateTime::UNIX_EPOCH)).await?;
    let mut unread = changes.stored;
    shared.unread.send_replace(unread);
    while let Some(change) = changes.messages.next().await.transpose()? {
        let version = {
            let mut index = shared.index_mut();
            index.apply(&change).then(|| index.version())
        };
        if unread > 0 {
            unread -= 1;
            shared.unread.send_replace(unread);
        }
        if let Some(version) = version {
            shared.changed.send_replace(version);
        }
    }
    Ok(())
}
