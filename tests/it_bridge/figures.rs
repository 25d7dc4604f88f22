//! Figures, printed by `cargo test --test it_bridge figures -- --nocapture`, with bounds that a slow machine meets too.
#![allow(clippy::print_stdout, reason = "the figures are the purpose")]

use std::time::Duration;

use sailhand::bridge::identity::{self, Reference};
use sailhand::bridge::proto::EventsRequest;
use sailhand::bus::{Bus, Retention};
use sailhand::event::{CommandKey, Origin, result_event};
use serde_json::json;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::bridge::{BridgeEnv, Events, request};
use crate::support::worker::{draft, succeeded};

fn percentiles(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

#[tokio::test]
async fn accepted_operations_compared_with_bare_publishes() {
    let test_env = BridgeEnv::new().await;
    let bridge = test_env.bridge(|_| {}).await;
    let mut client = bridge.client().await;
    let target = "dev".parse().unwrap();
    let (mut bare, mut accepted) = (Vec::new(), Vec::new());
    for _ in 0..1_000 {
        let begun = Instant::now();
        test_env.client.submit(&target, draft("ping", json!({}))).await.unwrap();
        bare.push(begun.elapsed());
        let begun = Instant::now();
        client.apply_operation(request("bookinfo", "shop")).await.unwrap();
        accepted.push(begun.elapsed());
    }
    let ((bare_median, bare_high), (median, high)) = (percentiles(bare), percentiles(accepted));
    println!("bare publish p50 {bare_median:?} p99 {bare_high:?}; ApplyOperation p50 {median:?} p99 {high:?}");
    assert!(median < bare_median + Duration::from_millis(100), "{median:?} beside {bare_median:?}");
}

#[tokio::test]
async fn thousand_streams_have_no_gaps_in_bounded_memory() {
    const STREAMS: usize = 1_000;
    const EVENTS: usize = 500;
    let test_env = BridgeEnv::new().await;
    let bridge = test_env.bridge(|bridge| bridge.max_streams = STREAMS).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(bridge.client().await);
    }
    let mut readers = tokio::task::JoinSet::new();
    for number in 0..STREAMS {
        let mut events = Events(clients[number % 20].stream_events(EventsRequest {}).await.unwrap().into_inner());
        readers.spawn(async move {
            for read in 0..EVENTS {
                match events.0.message().await {
                    Ok(Some(event)) if event.summary.contains("missing") => return (read, "gap".to_owned()),
                    Ok(Some(_)) => {}
                    other => return (read, format!("{other:?}")),
                }
            }
            (EVENTS, String::new())
        });
    }
    let before = bridge.memory();
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let mut most = before;
    for number in 0..EVENTS {
        ticks.tick().await;
        let reference = Reference {
            operation_id: uuid::Uuid::new_v4().to_string(),
            target: "dev".parse().unwrap(),
            key: "bookinfo".to_owned(),
            delete: false,
            namespace: "shop".to_owned(),
            targets: 1,
        };
        let source = identity::source("meshery", None, "jane");
        let origin = Origin {
            key: CommandKey::new(&source, &reference.id()),
            id: reference.id(),
            source,
            target: reference.target.clone(),
            verb: "sample.deploy".to_owned(),
            correlation: reference.operation_id.clone(),
            traceparent: None,
            tracestate: None,
            digest: None,
        };
        let event = result_event(&origin, OffsetDateTime::now_utc(), &succeeded()).unwrap();
        test_env.bus.commit_result(&origin, &event, Retention::Full).await.unwrap();
        if number % 50 == 0 {
            most = most.max(bridge.memory());
        }
    }
    let published = begun.elapsed();
    let mut lost = 0;
    let mut reason = String::new();
    while let Some(done) = readers.join_next().await {
        let (read, why) = done.unwrap();
        lost += EVENTS - read;
        if !why.is_empty() {
            reason = why;
        }
    }
    most = most.max(bridge.memory());
    println!(
        "{STREAMS} streams, {EVENTS} events published in {published:?}, all read after {:?}; lost {lost} {reason}; \
         memory {before} KiB before, {most} KiB at most",
        begun.elapsed()
    );
    // Readers that a busy machine delays get a warning.
    assert!(lost == 0 || reason == "gap", "{reason}");
    assert!(most < 128 << 10, "{most} KiB");
}
