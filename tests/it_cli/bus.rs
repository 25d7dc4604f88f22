//! The binary with a real bus and no worker: what it writes and reads there.

use crate::support;

use std::process::Output;
use std::time::Duration;

use futures::StreamExt;
use sailhand::bus::nats::{self, NatsBus};
use sailhand::bus::{Bus, DeadLetter, DeadReason, Queue, Retention, Subjects};
use sailhand::config::Nats;
use sailhand::error::Problem;
use sailhand::event::{
    CommandId, CommandKey, EventKind, Origin, Outcome, ResultData, Retrying, Started, decode, progress_event,
    result_event,
};
use sailhand::progress::Step;
use serde_json::Value;
use support::eventually::eventually;
use support::nats::NatsServer;
use time::OffsetDateTime;
use tokio::io::AsyncBufReadExt;
use tokio::process::Command;

pub struct BusEnv {
    pub server: NatsServer,
    pub bus: NatsBus,
}

impl BusEnv {
    pub async fn new() -> Self {
        let server = NatsServer::start().await;
        let config = Nats { url: vec![server.url()], ..Nats::default() };
        let bus = NatsBus::new(nats::connect(&config, "test", false).await.unwrap(), Subjects::new("istio"));
        let test_env = Self { server, bus };
        assert_eq!(test_env.run(&["topology", "apply"]).await.status.code(), Some(0));
        test_env
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sailhand"));
        command.args(args).args(["--nats-url", &self.server.url()]).kill_on_drop(true);
        command
    }

    pub async fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().await.unwrap()
    }

    pub async fn submit(&self, args: &[&str]) -> CommandKey {
        let output = self.run(&[&["submit", "ping", "-t", "dev"], args].concat()).await;
        assert!(output.status.success(), "{}", err(&output));
        out(&output).trim().parse().expect("one key")
    }

    /// What a worker has of the oldest command.
    pub async fn take(&self) -> (Origin, sailhand::bus::Delivery) {
        let mut batch = self.bus.pull(Queue::Commands, 1, Duration::from_secs(5));
        let delivery = batch.next().await.expect("a command").unwrap();
        let (target, verb) = delivery.address.clone().unwrap();
        let command = decode(&target, &verb, &delivery.header_pairs(), &delivery.payload).unwrap();
        (command.origin, delivery)
    }

    pub async fn publish_event(&self, origin: &Origin, n: u32, kind: &EventKind) {
        let event = progress_event(origin, 1, (1, n), "w", OffsetDateTime::now_utc(), kind).unwrap();
        self.bus.publish_event(origin, kind.name(), &event).await.unwrap();
    }

    /// Ends the command with a report.
    pub async fn report(&self, origin: &Origin, report: Value) {
        let result = ResultData { report: Some(report), ..support::worker::succeeded() };
        let event = result_event(origin, OffsetDateTime::now_utc(), &result).unwrap();
        self.bus.commit_result(origin, &event, Retention::Full).await.unwrap();
    }

    pub async fn end(&self, origin: &Origin, outcome: Outcome) {
        let error = (outcome != Outcome::Succeeded).then(problem);
        let result = ResultData { outcome, error, ..support::worker::succeeded() };
        let event = result_event(origin, OffsetDateTime::now_utc(), &result).unwrap();
        self.bus.commit_result(origin, &event, Retention::Full).await.unwrap();
    }
}

pub fn problem() -> Problem {
    Problem {
        code: "SH3013".to_owned(),
        class: "terminal".to_owned(),
        message: "no namespace".to_owned(),
        causes: Vec::new(),
        remedy: "Create it.".to_owned(),
    }
}

pub fn started() -> EventKind {
    let (verb, worker, deadline) = ("ping".to_owned(), "w".to_owned(), "2026-01-31T12:00:00Z".to_owned());
    EventKind::Started(Started { verb, attempt: 1, worker, deadline, waited: Vec::new() })
}

/// The start of a command that has waited.
fn started_later() -> EventKind {
    let EventKind::Started(started) = started() else { unreachable!("a start") };
    EventKind::Started(Started { waited: support::worker::waited(), ..started })
}

fn step(done: u64) -> EventKind {
    EventKind::Progress(Step { phase: "apply".to_owned(), message: "x".to_owned(), done, total: 9 })
}

pub fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn lines(output: &Output) -> Vec<Value> {
    out(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn each_command_reports_missing_streams() {
    let server = NatsServer::start().await;
    let url = server.url();
    for args in [
        &["submit", "ping", "-t", "dev"][..],
        &["get", "x"],
        &["watch"],
        &["dlq", "list"],
        &["cancel", "x"],
        &["pause", "dev"],
        &["resume", "dev"],
        &["targets"],
        &["topology", "verify"],
    ] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_sailhand")).args(args).args(["--nats-url", &url]).output().await.unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", err(&output));
        assert!(err(&output).contains("error[SH2003]") && err(&output).contains("topology apply"), "{}", err(&output));
    }
}

#[tokio::test]
async fn command_sent_twice_without_a_worker_is_queued_once() {
    let test_env = BusEnv::new().await;
    let key = test_env.submit(&["--id", "1", "--source", "/ci"]).await;
    assert_eq!(key, CommandKey::new("/ci", "1"));
    assert_eq!(test_env.submit(&["--id", "1", "--source", "/ci"]).await, key);
    for args in [&["get", key.as_str()][..], &["get", "1", "--source", "/ci"]] {
        let output = test_env.run(args).await;
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        assert_eq!(lines(&output)[0]["state"], "queued");
    }
    let unknown = test_env.run(&["get", "1"]).await;
    assert_eq!(unknown.status.code(), Some(8));
    assert!(err(&unknown).contains("error[SH2008]"), "{}", err(&unknown));
}

#[tokio::test]
async fn a_wait_in_vain_exits_with_5_and_leaves_the_command() {
    let test_env = BusEnv::new().await;
    let output = test_env.run(&["submit", "ping", "-t", "dev", "--wait", "--timeout", "300ms"]).await;
    assert_eq!(output.status.code(), Some(5));
    assert!(err(&output).contains("error[SH5003]"), "{}", err(&output));
    test_env.take().await;
}

#[tokio::test]
async fn watch_prints_events_in_order_and_the_result_last() {
    let test_env = BusEnv::new().await;
    let key = test_env.submit(&[]).await;
    let (origin, _delivery) = test_env.take().await;
    test_env.publish_event(&origin, 0, &started_later()).await;
    for n in 1..=50 {
        test_env.publish_event(&origin, n, &step(u64::from(n))).await;
    }
    test_env.end(&origin, Outcome::Succeeded).await;

    let output = test_env.run(&["watch", key.as_str()]).await;
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let told = lines(&output);
    assert_eq!(told.len(), 52);
    assert_eq!(told[0]["type"], "io.meshery.istio.event.started.v1");
    let steps: Vec<u64> = told[1..51].iter().map(|event| event["data"]["done"].as_u64().unwrap()).collect();
    assert_eq!(steps, (1..=50).collect::<Vec<_>>());
    assert_eq!(told[51]["type"], "io.meshery.istio.result.ping.v1");

    let text = out(&test_env.run(&["watch", key.as_str(), "-o", "text"]).await);
    assert!(
        text.contains("by w (") && text.contains("), waited 12 s for another command of the installation shop\n"),
        "{text}"
    );
    assert!(
        text.contains("apply 1/9 x") && text.contains("apply 50/9") && text.contains("✔ ping on dev: done"),
        "{text}"
    );
}

#[tokio::test]
async fn watch_without_an_id_follows_all_commands() {
    let test_env = BusEnv::new().await;
    let mut child = test_env.command(&["watch", "--since", "1h"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    test_env.submit(&[]).await;
    test_env.submit(&[]).await;
    for _ in 0..2 {
        let (origin, _delivery) = test_env.take().await;
        test_env.publish_event(&origin, 0, &started()).await;
        test_env.end(&origin, Outcome::Succeeded).await;
    }
    let mut told = tokio::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let mut results = 0;
    let all = async {
        while results < 2 {
            let line = told.next_line().await.unwrap().expect("it goes on");
            results += usize::from(line.contains(".result.ping.v1"));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.expect("two results");
    child.kill().await.unwrap();
}

#[tokio::test]
async fn watch_delivers_stored_and_new_events_in_order() {
    let test_env = BusEnv::new().await;
    let one_more = async || {
        test_env.submit(&[]).await;
        let (origin, delivery) = test_env.take().await;
        for n in 0..3 {
            test_env.publish_event(&origin, n, &started()).await;
        }
        // Somebody else's, which nobody reads.
        test_env.bus.context().publish("istio.evt.dev.s1.noise", "noise".into()).await.unwrap().await.unwrap();
        test_env.end(&origin, Outcome::Succeeded).await;
        delivery.acker.settle(sailhand::bus::Settlement::Ack).await.unwrap();
    };
    for _ in 0..30 {
        one_more().await;
    }
    let mut child = test_env.command(&["watch", "--since", "1h"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut told = tokio::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || {
        let line = tokio::time::timeout(Duration::from_secs(20), told.next_line()).await.expect("it goes on");
        let event: Value = serde_json::from_str(&line.unwrap().unwrap()).unwrap();
        event["type"].as_str().unwrap().trim_start_matches("io.meshery.istio.").to_owned()
    };
    for number in 0..40 {
        if number >= 30 {
            one_more().await;
        }
        for expected in ["event.started.v1", "event.started.v1", "event.started.v1", "result.ping.v1"] {
            assert_eq!(next().await, expected, "{number}");
        }
    }
    child.kill().await.unwrap();
}

#[tokio::test]
async fn waiting_for_a_command_survives_a_lost_server() {
    let mut test_env = BusEnv::new().await;
    let mut submitted = test_env
        .command(&["submit", "ping", "-t", "dev", "--wait"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let (origin, _delivery) = test_env.take().await;
    test_env.publish_event(&origin, 0, &started()).await;
    let mut told = tokio::io::BufReader::new(submitted.stdout.take().unwrap()).lines();
    let first = told.next_line().await.unwrap().unwrap();
    assert!(first.contains(".event.started."), "it follows: {first}");
    test_env.server.kill();
    let away = eventually("its port is free", Duration::from_secs(10), async || {
        tokio::net::TcpListener::bind(("127.0.0.1", test_env.server.port())).await.ok()
    })
    .await;
    // The test's own client tries too.
    let tries = async {
        for _ in 0..16 {
            away.accept().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_mins(1), tries).await.expect("they try again and again");
    drop(away);
    test_env.server.restart().await;
    test_env.end(&origin, Outcome::Succeeded).await;
    let output = tokio::time::timeout(Duration::from_mins(1), submitted.wait_with_output()).await.expect("its end");
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(err(&output).contains("lost the connection") && err(&output).contains("reconnected"), "{}", err(&output));
    let last = told.next_line().await.unwrap().unwrap();
    assert!(last.contains(".result.ping.v1"), "{last}");
}

#[tokio::test]
async fn each_outcome_has_its_exit_code() {
    let test_env = BusEnv::new().await;
    for (outcome, code) in [
        (Outcome::Succeeded, 0),
        (Outcome::Failed, 1),
        (Outcome::Rejected, 3),
        (Outcome::Cancelled, 4),
        (Outcome::Expired, 5),
        (Outcome::Superseded, 7),
    ] {
        let key = test_env.submit(&[]).await;
        let (origin, _delivery) = test_env.take().await;
        test_env.end(&origin, outcome).await;
        let got = test_env.run(&["get", key.as_str(), "-o", "text"]).await;
        assert_eq!(got.status.code(), Some(code), "{outcome:?}: {}", err(&got));
        if outcome != Outcome::Succeeded {
            assert!(out(&got).contains("error[SH3013]: no namespace\n  help: Create it."), "{}", out(&got));
        }
        assert_eq!(test_env.run(&["watch", key.as_str()]).await.status.code(), Some(code));
    }
}

#[tokio::test]
async fn get_shows_the_state_of_a_command() {
    let test_env = BusEnv::new().await;
    let key = test_env.submit(&[]).await;
    let (origin, _delivery) = test_env.take().await;
    for (kind, state, text) in [
        (
            started_later(),
            "running",
            "running on dev: attempt 1 by w, waited 12 s for another command of the installation shop",
        ),
        (step(3), "running", "running on dev: apply: x"),
        (
            EventKind::Retrying(Retrying { attempt: 1, delay_ms: 1000, problem: problem() }),
            "retrying",
            "retrying on dev: attempt 1 failed: SH3013: no namespace",
        ),
    ] {
        let n = u32::from(state == "retrying") * 9 + u32::from(matches!(kind, EventKind::Progress(_)));
        test_env.publish_event(&origin, n, &kind).await;
        assert_eq!(lines(&test_env.run(&["get", key.as_str()]).await)[0]["state"], state);
        let shown = out(&test_env.run(&["get", key.as_str(), "-o", "text"]).await);
        assert!(shown.starts_with(text), "{shown}");
    }
}

#[tokio::test]
async fn cancellation_reaches_workers() {
    let test_env = BusEnv::new().await;
    let stop = tokio_util::sync::CancellationToken::new();
    test_env.bus.follow_control(stop.clone()).await.unwrap();
    let key = test_env.submit(&[]).await;
    assert_eq!(test_env.run(&["cancel", key.as_str()]).await.status.code(), Some(0));
    let heard =
        async || test_env.bus.control().is_cancelled(&CommandId::new(&"dev".parse().unwrap(), &key)).then_some(());
    eventually("the cancellation is heard", Duration::from_secs(5), heard).await;
    stop.cancel();
}

#[tokio::test]
async fn dead_letter_is_listed_shown_and_replayed_with_a_new_id() {
    let test_env = BusEnv::new().await;
    let key = test_env.submit(&["-p", "echo=hello", "--generation", "4"]).await;
    let (origin, delivery) = test_env.take().await;
    let letter = DeadLetter {
        delivery: &delivery,
        key: Some(&key),
        reason: DeadReason::Exhausted,
        problem: &problem(),
        worker: "w",
        time: OffsetDateTime::now_utc(),
        most_bytes: None,
    };
    test_env.bus.dead_letter(&letter).await.unwrap();
    delivery.acker.settle(sailhand::bus::Settlement::Ack).await.unwrap();

    let listed = lines(&test_env.run(&["dlq", "list"]).await);
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0]["code"], &listed[0]["reason"]), (&"SH3013".into(), &"exhausted".into()));
    assert_eq!(listed[0]["command"], key.as_str());
    assert!(lines(&test_env.run(&["dlq", "list", "--reason", "rejected"]).await).is_empty());
    assert!(lines(&test_env.run(&["dlq", "list", "--target", "other"]).await).is_empty());
    let number = listed[0]["sequence"].to_string();
    assert!(out(&test_env.run(&["dlq", "show", &number]).await).contains("\"echo\": \"hello\""));
    assert_eq!(test_env.run(&["dlq", "show", "99"]).await.status.code(), Some(8));

    let replayed = test_env.run(&["dlq", "replay", &number]).await;
    let new: CommandKey = out(&replayed).trim().parse().expect("a key");
    assert_ne!(new, key);
    let (again, delivery) = test_env.take().await;
    assert_eq!((&again.key, &again.source), (&new, &origin.source));
    let event: Value = serde_json::from_slice(&delivery.payload).unwrap();
    assert_eq!(event["replayof"], origin.id.as_str());
    assert_eq!(event["data"]["echo"], "hello");
    assert_eq!(event["generation"], "4");
}

#[tokio::test]
async fn large_parameters_use_the_object_store() {
    let test_env = BusEnv::new().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("large");
    std::fs::write(&file, "x".repeat(300_000)).unwrap();
    let param = format!("echo=@{}", file.display());
    test_env.submit(&["--no-check", "-p", &param]).await;
    let (_, delivery) = test_env.take().await;
    let event: Value = serde_json::from_slice(&delivery.payload).unwrap();
    assert_eq!(event.get("data"), None);
    let name = event["dataref"].as_str().unwrap().strip_prefix("nats-object://istio_blob/").unwrap().to_owned();
    let params: Value =
        serde_json::from_slice(&test_env.bus.blob("istio_blob", &name, 1 << 20).await.unwrap()).unwrap();
    assert_eq!(params["echo"].as_str().unwrap().len(), 300_000);
}
