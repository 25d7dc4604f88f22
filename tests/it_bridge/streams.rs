//! Event streams: replay, restarts, replicas and limits.

use std::time::Duration;

use sailhand::bridge::proto::EventsRequest;
use sailhand::event::ResultData;
use serde_json::json;
use tonic::Code;

use crate::bridge::{Bridge, BridgeEnv, PATIENCE, request};
use crate::support::worker::succeeded;

/// Sends an operation and ends it; gives its id.
async fn operation(test_env: &BridgeEnv, bridge: &Bridge) -> String {
    let call = request("bookinfo", "shop");
    let operation_id = call.operation_id.clone();
    bridge.client().await.apply_operation(call).await.unwrap();
    test_env.end(&test_env.command().await, succeeded()).await;
    operation_id
}

#[tokio::test]
async fn result_without_a_stream_is_replayed_once_also_after_a_restart() {
    let test_env = BridgeEnv::new().await;
    let first = test_env.bridge(|_| {}).await;
    let operation_id = operation(&test_env, &first).await;
    drop(first);
    let second = test_env.bridge(|_| {}).await;
    let mut events = second.events().await;
    assert_eq!(events.next().await.operation_id, operation_id);
    drop(events);
    let mut events = second.events().await;
    events.is_silent(Duration::from_secs(3)).await;
}

#[tokio::test]
async fn second_replica_does_not_repeat_a_result() {
    let test_env = BridgeEnv::new().await;
    let (one, other) = (test_env.bridge(|_| {}).await, test_env.bridge(|_| {}).await);
    let mut events = [one.events().await, other.events().await];
    let operation_id = operation(&test_env, &one).await;
    let [first, second] = &mut events;
    let mut seen = Vec::new();
    while let Ok(event) = tokio::time::timeout(Duration::from_secs(3), async {
        tokio::select! {
            event = first.0.message() => event.unwrap().unwrap(),
            event = second.0.message() => event.unwrap().unwrap(),
        }
    })
    .await
    {
        seen.push(event.operation_id);
    }
    assert_eq!(seen, [operation_id]);
}

#[tokio::test]
async fn other_producers_and_bridges_of_other_names_are_not_shown() {
    let test_env = BridgeEnv::new().await;
    let bridge = test_env.bridge(|_| {}).await;
    let other = test_env.bridge(|bridge| bridge.name = "other".to_owned()).await;
    let mut events = bridge.events().await;
    test_env.client.submit(&"dev".parse().unwrap(), crate::support::worker::draft("ping", json!({}))).await.unwrap();
    test_env.end(&test_env.command().await, succeeded()).await;
    operation(&test_env, &other).await;
    let operation_id = operation(&test_env, &bridge).await;
    assert_eq!(events.next().await.operation_id, operation_id);
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused_and_a_closed_one_frees_its_place() {
    let test_env = BridgeEnv::new().await;
    let bridge = test_env.bridge(|bridge| bridge.max_streams = 2).await;
    let (first, second) = (bridge.events().await, bridge.events().await);
    let status = bridge.client().await.stream_events(EventsRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    drop(first);
    crate::support::eventually::eventually("a stream opens", PATIENCE, async || {
        bridge.client().await.stream_events(EventsRequest {}).await.ok()
    })
    .await;
    drop(second);
}

#[tokio::test]
async fn reader_that_stalls_neither_delays_another_nor_grows_the_process() {
    let test_env = BridgeEnv::new().await;
    let bridge = test_env.bridge(|_| {}).await;
    let _stalled = bridge.events().await;
    let mut events = bridge.events().await;
    let before = bridge.memory();
    let large = json!({"findings": (0..50).map(|number| json!({
        "code": "IST0101", "severity": "warning", "resource": "r".repeat(2_000), "message": format!("{number} {}", "m".repeat(2_000)),
    })).collect::<Vec<_>>()});
    for _ in 0..20 {
        let call = request("istio-vet", "default");
        let operation_id = call.operation_id.clone();
        bridge.client().await.apply_operation(call).await.unwrap();
        test_env.end(&test_env.command().await, ResultData { report: Some(large.clone()), ..succeeded() }).await;
        loop {
            let event = events.next().await;
            if event.operation_id == operation_id && event.summary.contains("50 findings") {
                break;
            }
        }
    }
    let grown = bridge.memory().saturating_sub(before);
    assert!(grown < 32 * 1024, "{grown} KiB");
}

#[tokio::test]
async fn stopped_bridge_ends_its_streams_and_exits() {
    let test_env = BridgeEnv::new().await;
    let mut bridge = test_env.bridge(|_| {}).await;
    let mut events = bridge.events().await;
    let id = bridge.child.id().unwrap().to_string();
    let sent = tokio::process::Command::new("kill").args(["-s", "TERM", &id]).status().await.unwrap();
    assert!(sent.success());
    let status = tokio::time::timeout(PATIENCE, events.0.message()).await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let exit = tokio::time::timeout(PATIENCE, bridge.child.wait()).await.unwrap().unwrap();
    assert!(exit.success(), "{exit} {}", bridge.log());
}
