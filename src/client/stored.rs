//! Reads the stored messages of a stream in batches, then follows it. A server pushes stored messages faster than they are
//! parsed, and a client that follows from the start holds those of 32 MiB in memory.

use std::vec;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{DeliverPolicy, PullConsumer};
use futures::stream::{self, BoxStream, StreamExt};

use super::watch::{FollowedMessage, FollowedStream, read};
use super::{Client, Error};
use crate::bus;

struct State {
    client: Client,
    stream: String,
    subject: String,
    consumer: PullConsumer,
    /// Where to follow from.
    from: DeliverPolicy,
    batch: vec::IntoIter<Message>,
    /// Whether all stored messages have been read.
    is_read: bool,
    live: Option<BoxStream<'static, Result<FollowedMessage, Error>>>,
}

impl Client {
    /// Stored messages, then new ones. At most one batch of stored messages is in memory.
    pub(super) async fn read_and_follow(
        &self,
        stream: String,
        subject: String,
        from: DeliverPolicy,
    ) -> Result<FollowedStream, Error> {
        let (consumer, pending) = match self.bus().stored_consumer(&stream, &subject, from).await {
            Ok((_, 0)) | Err(bus::Error::Request { .. }) => return self.follow(stream, subject, from).await,
            Ok(stored) => stored,
            Err(error) => return Err(error.into()),
        };
        let (client, batch) = (self.clone(), Vec::new().into_iter());
        let state = State { client, stream, subject, consumer, from, batch, is_read: false, live: None };
        let messages =
            stream::try_unfold(
                state,
                |mut state| async move { Ok(state.next().await?.map(|message| (message, state))) },
            );
        Ok(FollowedStream { messages: messages.boxed(), pending })
    }
}

impl State {
    async fn next(&mut self) -> Result<Option<FollowedMessage>, Error> {
        loop {
            if let Some(live) = &mut self.live {
                return live.next().await.transpose();
            }
            if let Some(message) = self.batch.next() {
                let Some(found) = read(&message) else { continue };
                self.from = DeliverPolicy::ByStartSequence { start_sequence: found.sequence + 1 };
                self.is_read = found.pending == 0;
                return Ok(Some(found));
            }
            if !self.is_read {
                match self.client.bus().stored_batch(&self.consumer, &self.stream).await {
                    Ok(batch) if !batch.is_empty() => {
                        self.batch = batch.into_iter();
                        continue;
                    }
                    // A user without the permission to pull follows the rest.
                    Ok(_) | Err(bus::Error::Denied { .. }) => self.is_read = true,
                    Err(error) => return Err(error.into()),
                }
            }
            let (stream, subject) = (self.stream.clone(), self.subject.clone());
            self.live = Some(self.client.follow(stream, subject, self.from).await?.messages);
        }
    }
}
