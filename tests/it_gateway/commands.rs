//! Commands over HTTP: the three modes, state and result, with a real worker.

use serde_json::{Value, json};

use crate::gateway::{Gateway, TOKEN, bearer, event, ping};
use crate::support::worker::{WorkerEnv, unique_name};

#[tokio::test]
async fn structured_event_is_executed_and_its_result_awaited() {
    let test_env = WorkerEnv::new().await;
    let _worker = test_env.worker("w").await;
    let gateway = Gateway::start(&test_env.nats.url()).await;
    let accepted = gateway.post(&ping("one")).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let body = accepted.json();
    let location = body["location"].as_str().unwrap().to_owned();
    assert_eq!(accepted.header("location"), Some(location.as_str()));
    assert_eq!((&body["duplicate"], &body["id"], &body["target"]), (&json!(false), &json!("one"), &json!("dev")));

    let ended = gateway.get(&format!("{location}?wait=30s")).await.json();
    assert_eq!((&ended["state"], &ended["outcome"]), (&json!("ended"), &json!("succeeded")), "{ended}");
    assert_eq!((&ended["verb"], &ended["source"]), (&json!("ping"), &json!("/ci/shop")));
    assert!(ended["result"]["report"].is_object(), "{ended}");
    // The same event again is the same command.
    let again = gateway.post(&ping("one")).await.json();
    assert_eq!((&again["duplicate"], &again["key"]), (&json!(true), &body["key"]));
    gateway.logs("command accepted").await;
    assert!(!gateway.log().contains(TOKEN), "the log has a token");
}

#[tokio::test]
async fn binary_event_changes_the_cluster() {
    let test_env = WorkerEnv::new().await;
    let _worker = test_env.worker("w").await;
    let gateway = Gateway::start(&test_env.nats.url()).await;
    let name = unique_name("binary");
    let manifest = format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: default\n");
    let token = bearer(TOKEN);
    let headers = [
        ("Authorization", token.as_str()),
        ("Content-Type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-type", "io.meshery.istio.command.config.apply.v1"),
        ("ce-source", "/ci/shop"),
        ("ce-subject", "dev"),
        ("ce-id", "a%20b"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ];
    let body = json!({ "name": name, "manifest": manifest }).to_string();
    let accepted = gateway.request("POST", "/v1/events", &headers, &body).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    assert_eq!(accepted.json()["id"], "a b");
    let ended = gateway.get(&format!("{}?wait=60s", accepted.header("location").unwrap())).await.json();
    assert_eq!((&ended["outcome"], &ended["result"]["changed"]), (&json!("succeeded"), &json!(true)), "{ended}");
}

#[tokio::test]
async fn batch_is_accepted_as_a_whole_or_not_at_all() {
    let test_env = WorkerEnv::new().await;
    let _worker = test_env.worker("w").await;
    let gateway = Gateway::start(&test_env.nats.url()).await;
    let token = bearer(TOKEN);
    let headers = [("Authorization", token.as_str()), ("Content-Type", "application/cloudevents-batch+json")];
    let post = async |events: Value| gateway.request("POST", "/v1/events", &headers, &events.to_string()).await;
    let accepted = post(json!([ping("b1"), ping("b2"), ping("b1")])).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let commands = accepted.json()["commands"].as_array().unwrap().clone();
    assert_eq!(commands.len(), 3);
    assert_eq!(commands[0]["key"], commands[2]["key"]);
    for command in &commands {
        let ended = gateway.get(&format!("{}?wait=30s", command["location"].as_str().unwrap())).await.json();
        assert_eq!(ended["outcome"], "succeeded", "{ended}");
    }
    let refused = post(json!([ping("b3"), event("b4", "ping", "dev", json!({ "unknown": 1 }))])).await;
    refused.is_problem(400, "SH1005");
    assert!(refused.json()["detail"].as_str().unwrap().contains("event 1 of the batch"), "{refused:?}");
    let first = post(json!([ping("b3")])).await.json();
    assert_eq!(first["commands"][0]["duplicate"], false, "the refused batch has sent its first event");
    assert_eq!(post(json!([])).await.status, 202);
    post(json!({})).await.is_problem(400, "SH3812");
    post(json!([1])).await.is_problem(400, "SH3812");
    post(Value::Array((0..501).map(|n| ping(&n.to_string())).collect())).await.is_problem(400, "SH3812");
}

#[tokio::test]
async fn events_that_a_worker_would_reject_are_refused() {
    let test_env = WorkerEnv::new().await;
    let gateway = Gateway::start(&test_env.nats.url()).await;
    let with = |name: &str, value: Value| {
        let mut event = ping("x");
        event[name] = value;
        event
    };
    for (event, code) in [
        (with("type", json!("io.meshery.istio.command.pong.v1")), "SH1003"),
        (with("type", json!("com.example")), "SH1003"),
        (with("type", json!("io.meshery.istio.command.ping.v2")), "SH1004"),
        (with("subject", json!("a.b")), "SH1002"),
        (with("source", json!("/ci/a b")), "SH1002"),
        (with("id", json!("")), "SH1002"),
        (with("expirytime", json!("tomorrow")), "SH1002"),
        (with("data", json!({ "unknown": true })), "SH1005"),
        (json!({ "a": 1 }), "SH1001"),
    ] {
        gateway.post(&event).await.is_problem(400, code);
    }
}

#[tokio::test]
async fn command_without_events_is_pending() {
    let test_env = WorkerEnv::new().await;
    let gateway = Gateway::start(&test_env.nats.url()).await;
    let location = gateway.post(&ping("waits")).await.json()["location"].as_str().unwrap().to_owned();
    let view = gateway.get(&format!("{location}?wait=300ms")).await;
    assert_eq!((view.status, &view.json()["state"]), (200, &json!("pending")), "{view:?}");
    gateway.get(&format!("{location}?wait=soon")).await.is_problem(400, "SH3812");
    gateway.get("/v1/commands/dev/nokey").await.is_problem(404, "SH2008");
    gateway.get("/v1/commands/Dev/00000000000000000000000000000000").await.is_problem(404, "SH2008");
    gateway.get("/v2/events").await.is_problem(404, "SH3812");
    gateway.get("/v1/events").await.is_problem(405, "SH3812");
}

#[tokio::test]
async fn outage_of_the_bus_is_answered_with_retry_after() {
    let mut test_env = WorkerEnv::new().await;
    let gateway = Gateway::start(&test_env.nats.url()).await;
    assert_eq!(gateway.get("/readyz").await.status, 200);
    test_env.nats.kill();
    crate::support::eventually::eventually("not ready", crate::gateway::PATIENCE, async || {
        (gateway.get("/readyz").await.status == 503).then_some(())
    })
    .await;
    let refused = gateway.post(&ping("lost")).await;
    refused.is_problem(503, "SH2001");
    assert_eq!(refused.header("retry-after"), Some("5"));
    test_env.nats.restart().await;
    crate::support::eventually::eventually("accepted again", crate::gateway::PATIENCE, async || {
        (gateway.post(&ping("lost")).await.status == 202).then_some(())
    })
    .await;
}
