//! Commands accepted in a second, beside the same bus path without HTTP, printed by
//! `cargo test --test it_gateway figures -- --nocapture`. The bounds hold on a slow machine and in a debug build too.
//! `SAILHAND_BIN` is another program to measure, such as a release build.
#![allow(clippy::print_stdout, reason = "the figures are the purpose")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use sailhand::event::CommandDraft;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::gateway::{Gateway, TOKEN, bearer, ping};
use crate::support::worker::WorkerEnv;

const SENDERS: usize = 32;
/// Events of a batch.
const BATCH: usize = 100;
const TIME: Duration = Duration::from_secs(3);

/// Calls `send` from [`SENDERS`] tasks for [`TIME`]. Commands in a second.
async fn rate(send: impl AsyncFn(usize, usize) -> usize) -> f64 {
    let (total, next) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let begun = Instant::now();
    let senders = (0..SENDERS).map(|sender| {
        let (total, next, send) = (&total, &next, &send);
        async move {
            while begun.elapsed() < TIME {
                let number = next.fetch_add(1, Ordering::Relaxed);
                total.fetch_add(send(sender, number).await, Ordering::Relaxed);
            }
        }
    });
    join_all(senders).await;
    #[allow(clippy::cast_precision_loss, reason = "a rate")]
    let total = total.into_inner() as f64;
    total / begun.elapsed().as_secs_f64()
}

/// A connection that stays open.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn post(&mut self, host: &str, kind: &str, body: &str) -> String {
        let request = format!(
            "POST /v1/events HTTP/1.1\r\nHost: {host}\r\nAuthorization: {}\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            bearer(TOKEN),
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await.unwrap();
        loop {
            let text = String::from_utf8_lossy(&self.buffer);
            if let Some((head, rest)) = text.split_once("\r\n\r\n") {
                let length =
                    head.to_lowercase().split("content-length: ").nth(1).unwrap().lines().next().unwrap().to_owned();
                if rest.len() >= length.trim().parse().unwrap() {
                    let whole = text.into_owned();
                    self.buffer.clear();
                    return whole;
                }
            }
            let mut part = [0; 8_192];
            let read = self.stream.read(&mut part).await.unwrap();
            assert!(read > 0, "the connection was closed");
            self.buffer.extend_from_slice(&part[..read]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepted_commands_in_a_second_compared_with_the_bus() {
    let test_env = WorkerEnv::new().await;
    let tables = |folder: &std::path::Path| {
        crate::gateway::principals(folder).replacen("rate_per_second = 1000", "rate_per_second = 1000000", 1)
    };
    let gateway = Gateway::with(&test_env.nats.url(), |_| String::new(), tables).await;
    let host = gateway.address.clone();
    let mut connections = Vec::new();
    for _ in 0..SENDERS {
        let stream = TcpStream::connect(&host).await.unwrap();
        stream.set_nodelay(true).unwrap();
        connections.push(tokio::sync::Mutex::new(Connection { stream, buffer: Vec::new() }));
    }
    let target = "dev".parse().unwrap();
    let client = Arc::new(test_env.client.clone());
    let mut rounds = Vec::new();
    for round in 0..3 {
        let bare = rate(async |_, number| {
            let draft = CommandDraft {
                id: format!("bare-{round}-{number}"),
                source: "/ci/shop".to_owned(),
                verb: "ping".to_owned(),
                params: json!({}),
                ..CommandDraft::default()
            };
            client.submit(&target, draft).await.unwrap();
            1
        })
        .await;
        let single = rate(async |sender, number| {
            let event = ping(&format!("single-{round}-{number}")).to_string();
            let mut connection = connections[sender].lock().await;
            let response = connection.post(&host, "application/cloudevents+json", &event).await;
            assert!(response.starts_with("HTTP/1.1 202"), "{response}");
            1
        })
        .await;
        let batched = rate(async |sender, number| {
            let events: Vec<Value> = (0..BATCH).map(|part| ping(&format!("batch-{round}-{number}-{part}"))).collect();
            let body = Value::Array(events).to_string();
            let mut connection = connections[sender].lock().await;
            let response = connection.post(&host, "application/cloudevents-batch+json", &body).await;
            assert!(response.starts_with("HTTP/1.1 202"), "{response}");
            BATCH
        })
        .await;
        println!("round {round}: bus {bare:.0}/s, single {single:.0}/s, batches of {BATCH} {batched:.0}/s");
        rounds.push((bare, single, batched));
    }
    let best = |pick: fn(&(f64, f64, f64)) -> f64| rounds.iter().map(pick).fold(0.0, f64::max);
    let (bare, single) = (best(|it| it.0), best(|it| it.1));
    assert!(single > bare / 20.0, "{single:.0}/s of {bare:.0}/s");
}
