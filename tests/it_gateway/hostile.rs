//! Hostile input over HTTP: it gets its status and costs bounded memory and time.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::gateway::{Gateway, PATIENCE, TOKEN, bearer, event, ping};
use crate::support::http::Response;
use crate::support::worker::WorkerEnv;

#[tokio::test]
async fn huge_and_deep_bodies_are_refused() {
    let test_env = WorkerEnv::new().await;
    let gateway = Gateway::start(&test_env.nats.url()).await;
    let token = bearer(TOKEN);
    let headers = [("Authorization", token.as_str()), ("Content-Type", "application/cloudevents+json")];
    let post = async |body: &str| gateway.request("POST", "/v1/events", &headers, body).await;
    let large = event("l", "config.apply", "dev", json!({ "name": "l", "manifest": "x".repeat(600_000) })).to_string();
    post(&large).await.is_problem(413, "SH3807");
    let little = event("l", "config.apply", "dev", json!({ "name": "l", "manifest": "x".repeat(524_250) })).to_string();
    assert!(little.len() > 512 * 1024, "{}", little.len());
    post(&little).await.is_problem(413, "SH1006");
    for body in ["[".repeat(100_000), format!("{{\"specversion\":{}", "{\"a\":".repeat(50_000))] {
        post(&body).await.is_problem(400, "SH1001");
    }
    post(r#"{"specversion":"1.0","id":"1","id":"2"}"#).await.is_problem(400, "SH1001");
    // Parameters above 256 KiB are sent through the object store.
    let blob = event("l", "config.apply", "dev", json!({ "name": "l", "manifest": "x".repeat(300_000) }));
    assert_eq!(gateway.post(&blob).await.status, 202);
}

/// Clients that know a token may make the gateway keep their bodies, of at most 513 KiB on each of `max_connections`;
/// others may not.
#[tokio::test]
async fn slow_and_huge_bodies_cost_bounded_memory() {
    const CLIENTS: usize = 60;
    let test_env = WorkerEnv::new().await;
    let gateway = Gateway::start(&test_env.nats.url()).await;
    assert_eq!(gateway.post(&ping("first")).await.status, 202);
    let before = gateway.memory();
    let slow = async |token: &str, length: usize| {
        let mut stream = TcpStream::connect(&gateway.address).await.unwrap();
        let head = format!(
            "POST /v1/events HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\nContent-Type: \
             application/cloudevents+json\r\nContent-Length: {length}\r\n\r\n",
            gateway.address,
            bearer(token)
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // The server may refuse and close before all is written.
        let _ = tokio::time::timeout(Duration::from_secs(1), stream.write_all(&vec![b'['; 500_000])).await;
        stream
    };
    let unknown = futures::future::join_all((0..CLIENTS).map(|_| slow("0123456789abcdef-unknown", 50_000_000))).await;
    let grown = gateway.memory().saturating_sub(before);
    assert!(grown < 24 << 10, "{grown} KiB for clients without credentials");
    let known = futures::future::join_all((0..CLIENTS).map(|_| slow(TOKEN, 520_000))).await;
    let announced = futures::future::join_all((0..CLIENTS).map(|_| slow(TOKEN, 50_000_000))).await;
    let grown = gateway.memory().saturating_sub(before);
    assert!(grown < 96 << 10, "{grown} KiB for {CLIENTS} bodies of 500 KB");
    assert_eq!(gateway.post(&ping("second")).await.status, 202);
    drop((unknown, known, announced));
}

#[tokio::test]
async fn header_injection_is_refused() {
    let test_env = WorkerEnv::new().await;
    let gateway = Gateway::start(&test_env.nats.url()).await;
    let token = bearer(TOKEN);
    let base = [
        ("Authorization", token.as_str()),
        ("Content-Type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-type", "io.meshery.istio.command.ping.v1"),
        ("ce-source", "/ci/shop"),
        ("ce-subject", "dev"),
    ];
    for (name, value) in
        [("ce-id", "a%0d%0aNats-Msg-Id:%20x"), ("ce-id", "a%00b"), ("ce-id", "%ff"), ("ce-id", "1\r\nce-id: 2")]
    {
        let headers = [base.as_slice(), &[(name, value)]].concat();
        let refused = gateway.request("POST", "/v1/events", &headers, "{}").await;
        assert_eq!(refused.status, 400, "{value:?}: {refused:?}");
    }
    // As the SDK for Go sends it.
    let headers = [base.as_slice(), &[("ce-id", "100% \u{e4}")]].concat();
    assert_eq!(gateway.request("POST", "/v1/events", &headers, "{}").await.json()["id"], "100% \u{e4}");
    let headers = [base.as_slice(), &[("ce-id", "ok"), ("Nats-Schedule", "@every 1s"), ("Nats-TTL", "1s")]].concat();
    assert_eq!(gateway.request("POST", "/v1/events", &headers, "{}").await.status, 202);
    let subjects = test_env.client.bus().subjects();
    let sent = test_env.client.bus().next(&subjects.command_stream(), &subjects.commands(), 2).await.unwrap().unwrap();
    let names: Vec<String> = sent.headers.iter().map(|(name, _)| name.to_string().to_lowercase()).collect();
    assert!(!names.iter().any(|name| name == "nats-schedule" || name == "nats-ttl"), "{names:?}");
}

#[tokio::test]
async fn slow_clients_are_cut_off() {
    let test_env = WorkerEnv::new().await;
    let keys = |_: &std::path::Path| "header_timeout = \"500ms\"\nbody_timeout = \"500ms\"\n".to_owned();
    let gateway = Gateway::with(&test_env.nats.url(), keys, crate::gateway::principals).await;
    let mut head = TcpStream::connect(&gateway.address).await.unwrap();
    head.write_all(b"POST /v1/events HTTP/1.1\r\nHost: local").await.unwrap();
    let mut idle = TcpStream::connect(&gateway.address).await.unwrap();
    for slow in [&mut head, &mut idle] {
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(PATIENCE, slow.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "the connection is still open");
    }
    let mut body = TcpStream::connect(&gateway.address).await.unwrap();
    let text = format!(
        "POST /v1/events HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\nContent-Type: application/cloudevents+json\r\n\
         Content-Length: 100\r\nConnection: close\r\n\r\n{{",
        gateway.address,
        bearer(TOKEN)
    );
    body.write_all(text.as_bytes()).await.unwrap();
    Response::read(&mut body, PATIENCE).await.is_problem(408, "SH3808");
}

#[tokio::test]
async fn further_connections_wait_and_are_served_later() {
    let test_env = WorkerEnv::new().await;
    let keys = |_: &std::path::Path| "max_connections = 3\nmax_streams = 2\nheader_timeout = \"2s\"\n".to_owned();
    let gateway = Gateway::with(&test_env.nats.url(), keys, crate::gateway::principals).await;
    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(TcpStream::connect(&gateway.address).await.unwrap());
    }
    // The open ones send nothing and are closed after the time for headers, so that the others get their turn.
    let served = tokio::time::timeout(Duration::from_mins(1), gateway.post(&ping("late"))).await;
    assert_eq!(served.expect("a response").status, 202);
}

#[tokio::test]
async fn large_and_many_headers_are_refused() {
    let test_env = WorkerEnv::new().await;
    let gateway = Gateway::start(&test_env.nats.url()).await;
    let long = "x".repeat(100_000);
    let refused = gateway.request("GET", "/v1/commands/dev/x", &[("X-Long", &long)], "").await;
    assert_eq!(refused.status, 431, "{refused:?}");
    let many: Vec<(String, String)> = (0..200).map(|n| (format!("X-{n}"), "1".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(gateway.request("GET", "/v1/commands/dev/x", &many, "").await.status, 431);
}

#[tokio::test]
async fn other_content_types_are_refused_before_the_body() {
    let test_env = WorkerEnv::new().await;
    let gateway = Gateway::start(&test_env.nats.url()).await;
    let token = bearer(TOKEN);
    for kind in
        ["text/plain", "application/cloudevents+protobuf", "application/cloudevents-batch+avro", "application/xml"]
    {
        let headers = [("Authorization", token.as_str()), ("Content-Type", kind)];
        gateway.request("POST", "/v1/events", &headers, "x").await.is_problem(415, "SH3809");
    }
}
