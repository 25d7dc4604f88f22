//! Publishes the cards of targets, so that clients can list targets and see whether a worker is there.

use std::collections::BTreeMap;

use async_nats::HeaderMap;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::NatsBus;
use super::publish::{Message, message_id};
use crate::bus::topology::CARD_TTL;
use crate::bus::{Error, TargetCard};
use crate::event::rfc3339;

impl NatsBus {
    /// Publishes the cards, by target, at an interval until `stop`, then deletes them. The cards of a worker that is killed
    /// expire.
    pub async fn publish_cards(self, mut cards: BTreeMap<String, TargetCard>, stop: CancellationToken) {
        loop {
            for (target, card) in &mut cards {
                card.time = rfc3339(OffsetDateTime::now_utc());
                let text = serde_json::to_string(card).unwrap_or_default();
                if let Err(error) = self.write_card(target, &card.worker, Some(text)).await {
                    tracing::debug!(target, "the card of the target was not published: {error}");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(CARD_TTL / 3) => {}
                () = stop.cancelled() => break,
            }
        }
        for (target, card) in &cards {
            if let Err(error) = self.write_card(target, &card.worker, None).await {
                tracing::debug!(target, "the card of the target was not deleted: {error}");
            }
        }
    }

    async fn write_card(&self, target: &str, worker: &str, text: Option<String>) -> Result<(), Error> {
        let mut headers = HeaderMap::new();
        headers.insert(async_nats::header::NATS_MESSAGE_ID, message_id());
        if text.is_none() {
            headers.insert("KV-Operation", "DEL");
        }
        let subject = self.subjects.target_card(target, worker);
        self.publish(Message { subject, headers, payload: text.unwrap_or_default().into() }).await.map(drop)
    }
}
