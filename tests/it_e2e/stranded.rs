//! Commands that nobody would ever settle: each gets its dead letter, its event and, where a sender can be read, its one
//! result; and the queue goes on.

use crate::support;

use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::PullConsumer;
use futures::StreamExt;
use sailhand::bus::topology::Topology;
use sailhand::client::{DeadLetter, Filter};
use sailhand::event::{CommandKey, EventKind, Outcome};
use serde_json::{Value, json};
use support::eventually::eventually;
use support::worker::WorkerEnv;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const WITHIN: Duration = Duration::from_secs(30);

async fn letters(test_env: &WorkerEnv) -> Vec<DeadLetter> {
    test_env.client.dead_letters(&Filter { limit: 100, ..Filter::default() }).await.unwrap()
}

async fn messages(test_env: &WorkerEnv, stream: &str) -> u64 {
    test_env.client.bus().context().get_stream(stream).await.unwrap().get_info().await.unwrap().state.messages
}

async fn empty(test_env: &WorkerEnv, stream: &str) {
    eventually(&format!("{stream} is empty"), WITHIN, async || (messages(test_env, stream).await == 0).then_some(()))
        .await;
}

/// The events of dead letters, whatever they are about.
async fn told(test_env: &WorkerEnv) -> Vec<Value> {
    let mut told = Vec::new();
    let mut next = 1;
    while let Some(message) = test_env.client.bus().next("ISTIO_EVT", "istio.evt.*.*.deadlettered", next).await.unwrap()
    {
        next = message.sequence + 1;
        told.push(serde_json::from_slice(&message.payload).unwrap());
    }
    told
}

#[tokio::test]
async fn command_at_max_deliver_ends_with_a_dead_letter_and_a_result() {
    let test_env = WorkerEnv::new().await;
    let first = test_env.worker("first").await;
    let second = test_env.worker("second").await;
    let target = "dev".parse().unwrap();
    test_env.client.bus().context().publish(test_env.client.bus().subjects().pause(&target), "".into()).await.unwrap();
    // Somebody sets what the topology does not: two deliveries, which a busy target takes within a second.
    let (stream, mut consumer) = Topology::new(&test_env.config.bus).consumers[0].clone();
    consumer.max_deliver = 2;
    test_env.client.bus().context().create_consumer_on_stream(consumer, &stream).await.unwrap();
    let key = test_env.send("dev", "ping", json!({})).await;

    let result = test_env.result(&key).await;
    assert_eq!((result.outcome, result.attempts), (Outcome::Failed, 0), "{result:?}");
    assert_eq!(result.error.unwrap().code, "SH1016");
    empty(&test_env, "ISTIO_CMD").await;
    empty(&test_env, "ISTIO_ADV").await;
    let letters = letters(&test_env).await;
    assert_eq!(letters.len(), 1, "two workers, one letter");
    assert_eq!((letters[0].reason.as_str(), letters[0].command.as_str()), ("max-deliveries", key.as_str()));
    assert_eq!(letters[0].event.as_ref().unwrap()["type"], "io.meshery.istio.command.ping.v1");
    test_env.event(&key, |kind| matches!(kind, EventKind::DeadLettered(data) if data.reason == "max-deliveries")).await;
    let mut counted = 0;
    for worker in [&first, &second] {
        let metrics = worker.http("/metrics").await.1;
        counted += metrics.matches(r#"sailhand_dead_letters_total{reason="max-deliveries"} 1"#).count();
    }
    assert!(counted >= 1, "whoever left it counts it");
}

#[tokio::test]
async fn command_terminated_by_another_client_becomes_a_dead_letter() {
    let test_env = WorkerEnv::new().await;
    test_env.send("dev", "ping", json!({})).await;
    let consumer: PullConsumer =
        test_env.client.bus().context().get_consumer_from_stream("worker", "ISTIO_CMD").await.unwrap();
    let message = consumer.fetch().max_messages(1).messages().await.unwrap().next().await.unwrap().unwrap();
    message.ack_with(AckKind::Term).await.unwrap();
    let worker = test_env.worker("w1").await;
    let letter = eventually("the letter", WITHIN, async || letters(&test_env).await.pop()).await;
    assert_eq!((letter.reason.as_str(), letter.code.as_str()), ("terminated", "SH1017"));
    assert_eq!(letter.command, "s1");
    assert!(letter.raw.unwrap().contains("\"stream_seq\":1"), "the server's own words");
    empty(&test_env, "ISTIO_ADV").await;
    let event = eventually("the event", WITHIN, async || told(&test_env).await.pop()).await;
    assert_eq!((&event["data"]["reason"], &event["data"]["problem"]["code"]), (&json!("terminated"), &json!("SH1017")));
    let metrics = worker.http("/metrics").await.1;
    assert!(metrics.contains(r#"sailhand_dead_letters_total{reason="terminated"} 1"#), "{metrics}");
    assert_eq!(test_env.run("dev", "ping", json!({})).await.outcome, Outcome::Succeeded);
}

#[tokio::test]
async fn termination_by_a_worker_has_one_dead_letter_and_one_event() {
    let test_env = WorkerEnv::new().await;
    let _worker = test_env.worker("w1").await;
    for bad in ["{", "[]"] {
        test_env.client.bus().context().publish("istio.cmd.dev.ping", bad.into()).await.unwrap().await.unwrap();
    }
    // The advisories come after the letters, and are taken away without leaving any.
    let context = test_env.client.bus().context();
    let advisories = context.get_stream("ISTIO_ADV").await.unwrap();
    eventually("both are advised and swept", WITHIN, async || {
        let info = advisories.get_info().await.unwrap();
        (info.state.last_sequence == 2 && info.state.messages == 0).then_some(())
    })
    .await;
    let letters = letters(&test_env).await;
    assert_eq!(letters.iter().map(|letter| letter.reason.as_str()).collect::<Vec<_>>(), ["rejected", "rejected"]);
    assert_eq!(told(&test_env).await.len(), 2);
}

/// What no NATS library would write: a message with these bytes as its headers.
async fn publish_raw(test_env: &WorkerEnv, subject: &str, headers: &[u8], payload: &[u8]) {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", test_env.nats.port())).await.unwrap();
    let mut text = br#"CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}"#.to_vec();
    text.extend(format!("\r\nHPUB {subject} {} {}\r\n", headers.len(), headers.len() + payload.len()).bytes());
    text.extend([headers, payload, b"\r\nPING\r\n"].concat());
    stream.write_all(&text).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"PONG\r\n") {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "{}", String::from_utf8_lossy(&answer));
    }
}

#[tokio::test]
async fn malformed_headers_become_a_dead_letter_and_others_continue() {
    let test_env = WorkerEnv::new().await;
    let _worker = test_env.worker("w1").await;
    let event = |id: &str| {
        json!({
            "specversion": "1.0", "id": id, "source": "/raw", "subject": "dev",
            "type": "io.meshery.istio.command.ping.v1", "data": {},
        })
        .to_string()
    };
    let headers = [
        b"NATS/1.0\r\nX-Note: \xff\xfe\r\n\r\n".as_slice(),
        "NATS/1.0\r\nÜber: 1\r\n\r\n".as_bytes(),
        b"NATS/1.0\r\nno colon here\r\n\r\n",
    ];
    for (number, headers) in headers.iter().enumerate() {
        publish_raw(&test_env, "istio.cmd.dev.ping", headers, event(&number.to_string()).as_bytes()).await;
    }
    let fine = test_env.send("dev", "ping", json!({})).await;
    for number in 0..headers.len() {
        let result = test_env.result(&CommandKey::new("/raw", &number.to_string())).await;
        assert_eq!(result.outcome, Outcome::Rejected);
        assert_eq!(result.error.unwrap().code, "SH1001");
    }
    assert_eq!(test_env.result(&fine).await.outcome, Outcome::Succeeded);
    empty(&test_env, "ISTIO_CMD").await;
    let letters = letters(&test_env).await;
    assert_eq!(letters.len(), headers.len(), "{letters:#?}");
    assert!(letters.iter().all(|letter| letter.event.is_some()), "the payload is kept");
    let consumer: PullConsumer =
        test_env.client.bus().context().get_consumer_from_stream("worker", "ISTIO_CMD").await.unwrap();
    eventually("nothing is under way", WITHIN, async || {
        (consumer.get_info().await.unwrap().num_ack_pending == 0).then_some(())
    })
    .await;
}
