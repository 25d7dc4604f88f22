//! Server-sent events of a command, and requests that wait for its end.

use serde_json::json;

use crate::gateway::{Gateway, OTHER, bearer, ping};
use crate::support::worker::WorkerEnv;

#[tokio::test]
async fn stream_is_resumed_after_its_last_event() {
    let test_env = WorkerEnv::new().await;
    let gateway = Gateway::start(&test_env.nats.url()).await;
    let location = gateway.post(&ping("streamed")).await.json()["location"].as_str().unwrap().to_owned();
    let path = format!("{location}/events");
    // Opened before a worker starts the command.
    let mut live = gateway.live(&path, None).await;
    let _worker = test_env.worker("w").await;
    let (first, kind, data) = live.next().await.expect("an event");
    assert_eq!((kind.as_str(), &data["commandid"]), ("started", &json!("streamed")));
    let mut seen = vec![first.clone()];
    while let Some((id, kind, data)) = live.next().await {
        seen.push(id);
        if kind == "result" {
            assert_eq!(data["data"]["outcome"], "succeeded");
        }
    }
    assert_eq!(seen.last().map(String::as_str), Some("end"));

    let mut resumed = gateway.live(&path, Some(&first)).await;
    let mut rest = Vec::new();
    while let Some((id, ..)) = resumed.next().await {
        rest.push(id);
    }
    assert_eq!(rest, seen[1..]);
    let (token, end) = (bearer(crate::gateway::TOKEN), "end");
    let headers = [("Authorization", token.as_str()), ("Last-Event-ID", end)];
    assert_eq!(gateway.request("GET", &path, &headers, "").await.status, 204);
    gateway
        .request("GET", &path, &[("Authorization", &token), ("Last-Event-ID", "x")], "")
        .await
        .is_problem(400, "SH3812");
    // Another principal does not see it.
    gateway.request("GET", &path, &[("Authorization", &bearer(OTHER))], "").await.is_problem(404, "SH2008");
    gateway.request("GET", &location, &[("Authorization", &bearer(OTHER))], "").await.is_problem(404, "SH2008");
}

#[tokio::test]
async fn waiting_requests_are_limited() {
    let test_env = WorkerEnv::new().await;
    let keys = |_: &std::path::Path| "max_connections = 20\nmax_streams = 2\n".to_owned();
    let gateway = Gateway::with(&test_env.nats.url(), keys, crate::gateway::principals).await;
    let location = gateway.post(&ping("waited")).await.json()["location"].as_str().unwrap().to_owned();
    let path = format!("{location}/events");
    let (one, two) = (gateway.live(&path, None).await, gateway.live(&path, None).await);
    crate::support::eventually::eventually("both streams count", crate::gateway::PATIENCE, async || {
        let refused = gateway.get(&format!("{location}?wait=1ms")).await;
        (refused.status == 503).then(|| refused.is_problem(503, "SH3810"))
    })
    .await;
    assert_eq!(gateway.get(&location).await.status, 200);
    // A closed stream frees its place.
    drop((one, two));
    crate::support::eventually::eventually("a place is free", crate::gateway::PATIENCE, async || {
        (gateway.get(&format!("{location}?wait=1ms")).await.status == 200).then_some(())
    })
    .await;
}
