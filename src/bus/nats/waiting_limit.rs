//! The size limit of the waiting stream. The server cannot enforce it, because it permits schedules only in streams that delete their
//! oldest messages when they are full. Only workers write to the stream, so each checks the size before it writes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::NatsBus;
use super::publish::Message;
use crate::bus::Error;

/// How long a worker relies on a size that it has read, with what it has written since. The limit is exceeded by at most
/// what all workers write in this time.
const VALID: Duration = Duration::from_secs(1);

/// The limit, and the size of the stream as far as this process knows it.
#[derive(Debug, Clone)]
pub(super) struct WaitingLimit {
    limit: u64,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    read: Option<Instant>,
    bytes: u64,
}

impl WaitingLimit {
    pub fn new(limit: i64) -> Self {
        Self { limit: u64::try_from(limit).unwrap_or(u64::MAX), known: Arc::default() }
    }
}

impl NatsBus {
    /// Reserves space for a message in the waiting stream.
    ///
    /// # Errors
    /// [`Error::Full`] when there is none.
    pub(super) async fn reserve_waiting(&self, message: &Message) -> Result<(), Error> {
        let headers: usize = message
            .headers
            .iter()
            .flat_map(|(name, values)| {
                values.iter().map(|value| AsRef::<[u8]>::as_ref(name).len() + value.as_str().len())
            })
            .sum();
        let size = (message.subject.len() + headers + message.payload.len()) as u64;
        let limit = self.waiting_limit.limit;
        let mut known = self.waiting_limit.known.lock().await;
        if known.read.is_none_or(|read| read.elapsed() >= VALID) {
            let stream = self.subjects.waiting_stream();
            // Without an answer the write fails too, or the size is as it was.
            if let Ok(found) = self.context.get_stream(stream).await {
                *known = Known { read: Some(Instant::now()), bytes: found.cached_info().state.bytes };
            }
        }
        if known.bytes.saturating_add(size) > limit {
            return Err(Error::Full { stream: self.subjects.waiting_stream(), bytes: known.bytes, limit });
        }
        known.bytes += size;
        Ok(())
    }
}
