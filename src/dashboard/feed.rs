//! Keeps the index up to date with the streams of events and results.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use time::OffsetDateTime;

use super::Shared;
use crate::client::Error;
use crate::web::feed;

/// Follows the streams until the dashboard stops. After an error it reads them again; changes that the index has are
/// skipped by their sequence.
pub(super) async fn follow(shared: Arc<Shared>, since: Duration) {
    feed::follow(shared.stop.clone(), || once(&shared, since)).await;
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
