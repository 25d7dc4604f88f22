//! A paused target: its commands wait without using anything up, the others go on, and a resume is felt at once.

use crate::support;

use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use sailhand::bus::{Bus, RecordKey};
use sailhand::client::State;
use sailhand::event::{CommandId, CommandKey, Outcome};
use serde_json::json;
use support::eventually::eventually;
use support::worker::{WorkerEnv, draft};
use time::OffsetDateTime;
use tokio::time::Instant;

fn record(key: &CommandKey) -> RecordKey {
    RecordKey::command(&CommandId::new(&"dev".parse().unwrap(), key))
}

#[tokio::test]
async fn commands_of_a_paused_target_wait_and_continue() {
    let test_env = WorkerEnv::new().await;
    let dev = "dev".parse().unwrap();
    test_env.client.pause(&dev, "test", Some("maintenance")).await.unwrap();
    let worker = test_env.worker("w1").await;
    let mut waiting = Vec::new();
    for _ in 0..50 {
        waiting.push(test_env.send("dev", "ping", json!({})).await);
    }
    let mut late = draft("ping", json!({}));
    late.expiry = Some(OffsetDateTime::now_utc() + Duration::from_secs(2));
    let late = test_env.client.submit(&dev, late).await.unwrap().key;
    let cancelled = test_env.send("dev", "ping", json!({})).await;
    test_env.client.cancel(&cancelled, "test").await.unwrap();

    // Others go on, and what waits still expires and can be cancelled.
    for _ in 0..10 {
        assert_eq!(test_env.run("gone", "ping", json!({})).await.outcome, Outcome::Succeeded);
    }
    assert_eq!(test_env.result(&cancelled).await.outcome, Outcome::Cancelled);
    assert_eq!(test_env.result(&late).await.outcome, Outcome::Expired);
    // Each has been handed back more than once by now.
    let consumer: PullConsumer =
        test_env.client.bus().context().get_consumer_from_stream("worker", "ISTIO_CMD").await.unwrap();
    eventually("all are handed back again and again", Duration::from_secs(30), async || {
        let info = consumer.get_info().await.unwrap();
        (info.num_redelivered >= 50 && info.num_pending == 0).then_some(())
    })
    .await;
    for key in &waiting {
        assert_eq!(test_env.client.state(key).await.unwrap(), State::Queued);
        assert_eq!(test_env.client.bus().attempts(&record(key)).await.unwrap().0.attempts, 0, "no attempt is counted");
    }
    let metrics = worker.http("/metrics").await.1;
    assert!(!metrics.contains(r#"sailhand_retries_total{verb="ping"}"#), "{metrics}");

    let resumed = Instant::now();
    assert!(test_env.client.resume(&dev).await.unwrap());
    for key in &waiting {
        let result = test_env.result(key).await;
        assert_eq!((result.outcome, result.attempts), (Outcome::Succeeded, 1));
    }
    assert!(resumed.elapsed() < Duration::from_secs(20), "{:?}", resumed.elapsed());
    assert!(!test_env.client.resume(&dev).await.unwrap(), "it is not paused any more");
}
