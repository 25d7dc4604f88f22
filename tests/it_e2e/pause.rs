//! A paused target: its commands wait without using anything up, the others go on, and a resume is felt at once.

use crate::support;

use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use sailhand::bus::{Bus, RecordKey};
use sailhand::client::State;
use sailhand::event::{CommandId, CommandKey, Outcome};
use serde_json::json;
use support::eventually::eventually;
use support::worker::{Stage, draft};
use time::OffsetDateTime;
use tokio::time::Instant;

fn record(key: &CommandKey) -> RecordKey {
    RecordKey::command(&CommandId::new(&"dev".parse().unwrap(), key))
}

#[tokio::test]
async fn commands_of_a_paused_target_wait_and_go_on_where_they_were() {
    let stage = Stage::new().await;
    let dev = "dev".parse().unwrap();
    stage.client.pause(&dev, "test", Some("maintenance")).await.unwrap();
    let worker = stage.worker("w1").await;
    let mut waiting = Vec::new();
    for _ in 0..50 {
        waiting.push(stage.send("dev", "ping", json!({})).await);
    }
    let mut late = draft("ping", json!({}));
    late.expiry = Some(OffsetDateTime::now_utc() + Duration::from_secs(2));
    let late = stage.client.submit(&dev, late).await.unwrap().key;
    let cancelled = stage.send("dev", "ping", json!({})).await;
    stage.client.cancel(&cancelled, "test").await.unwrap();

    // Others go on, and what waits still expires and can be cancelled.
    for _ in 0..10 {
        assert_eq!(stage.run("gone", "ping", json!({})).await.outcome, Outcome::Succeeded);
    }
    assert_eq!(stage.result(&cancelled).await.outcome, Outcome::Cancelled);
    assert_eq!(stage.result(&late).await.outcome, Outcome::Expired);
    // Each has been handed back more than once by now.
    let consumer: PullConsumer =
        stage.client.bus().context().get_consumer_from_stream("worker", "ISTIO_CMD").await.unwrap();
    eventually("all are handed back again and again", Duration::from_secs(30), async || {
        let info = consumer.get_info().await.unwrap();
        (info.num_redelivered >= 50 && info.num_pending == 0).then_some(())
    })
    .await;
    for key in &waiting {
        assert_eq!(stage.client.state(key).await.unwrap(), State::Queued);
        assert_eq!(stage.client.bus().attempts(&record(key)).await.unwrap().0.begun, 0, "no attempt is counted");
    }
    let metrics = worker.http("/metrics").await.1;
    assert!(!metrics.contains(r#"sailhand_retries_total{verb="ping"}"#), "{metrics}");

    let resumed = Instant::now();
    assert!(stage.client.resume(&dev).await.unwrap());
    for key in &waiting {
        let result = stage.result(key).await;
        assert_eq!((result.outcome, result.attempts), (Outcome::Succeeded, 1));
    }
    assert!(resumed.elapsed() < Duration::from_secs(20), "{:?}", resumed.elapsed());
    assert!(!stage.client.resume(&dev).await.unwrap(), "it is not paused any more");
}
