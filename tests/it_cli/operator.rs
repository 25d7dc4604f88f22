//! What people do who keep it running, by the command line and with the permissions of `operator` in deploy/nats: dead
//! letters chosen, replayed and purged; targets paused and resumed. No worker: each test writes what one would.

use crate::support;

use std::process::{Output, Stdio};
use std::time::Duration;

use futures::StreamExt;
use sailhand::bus::nats::{self, NatsBus, topology};
use sailhand::bus::topology::Topology;
use sailhand::bus::{Bus, DeadLetter, DeadReason, Queue, Settlement, Subjects};
use sailhand::config;
use sailhand::error::Problem;
use sailhand::event::{CommandKey, Target, decode};
use serde_json::Value;
use support::accounts;
use support::nats::NatsServer;
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::process::Command;

struct AccountsEnv {
    worker: NatsBus,
    server: NatsServer,
    dir: TempDir,
}

impl AccountsEnv {
    async fn new() -> Self {
        let server = accounts::server().await;
        let dir = TempDir::new().unwrap();
        let admin = login(&server, &dir, "admin").await;
        topology::apply(&admin, &Topology::new(&config::Bus::default())).await.unwrap();
        let worker = login(&server, &dir, "worker").await;
        Self { worker, server, dir }
    }

    /// The command line as a user.
    async fn run_as(&self, user: &str, args: &[&str]) -> Output {
        let nats = accounts::login(&self.server, self.dir.path(), user);
        let file = self.dir.path().join(format!("{user}.toml"));
        let password = nats.password_file.unwrap().display().to_string();
        let text = format!(
            "[nats]\nurl = {:?}\nuser = {user:?}\npassword_file = {password:?}\ninbox_prefix = {:?}\n[targets.idle]\n",
            nats.url, nats.inbox_prefix
        );
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sailhand"));
        command.args(args).arg("--config").arg(&file).stdin(Stdio::null()).kill_on_drop(true);
        command.output().await.unwrap()
    }

    async fn run(&self, args: &[&str]) -> String {
        let output = self.run_as("operator", args).await;
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    async fn lines(&self, args: &[&str]) -> Vec<Value> {
        self.run(args).await.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// A command that a worker gave up.
    async fn letter(&self, target: &str, reason: DeadReason, code: &str) {
        self.run(&["submit", "ping", "-t", target]).await;
        let delivery = self.worker.pull(Queue::Commands, 1, Duration::from_secs(5)).next().await.unwrap().unwrap();
        let problem = Problem {
            code: code.to_owned(),
            class: "terminal".to_owned(),
            message: "it went wrong".to_owned(),
            causes: Vec::new(),
            remedy: "Mend it.".to_owned(),
        };
        let (found, verb) = delivery.address.clone().unwrap();
        let key = decode(&found, &verb, &delivery.header_pairs(), &delivery.payload).unwrap().origin.key;
        let time = OffsetDateTime::now_utc();
        let (key, problem, worker, most_bytes) = (Some(&key), &problem, "w", None);
        let letter = DeadLetter { delivery: &delivery, key, reason, problem, worker, time, most_bytes };
        self.worker.dead_letter(&letter).await.unwrap();
        delivery.acker.settle(Settlement::Ack).await.unwrap();
    }

    async fn numbers(&self, args: &[&str]) -> Vec<u64> {
        let listed = self.lines(&[&["dlq", "list"], args].concat()).await;
        listed.iter().map(|letter| letter["sequence"].as_u64().unwrap()).collect()
    }
}

async fn login(server: &NatsServer, dir: &TempDir, user: &str) -> NatsBus {
    let connection = nats::connect(&accounts::login(server, dir.path(), user), user, false).await.unwrap();
    NatsBus::new(connection, Subjects::new("istio"))
}

async fn four_letters() -> AccountsEnv {
    let test_env = AccountsEnv::new().await;
    for (target, reason, code) in [
        ("dev", DeadReason::Exhausted, "SH3001"),
        ("dev", DeadReason::Rejected, "SH1005"),
        ("prod", DeadReason::Exhausted, "SH3001"),
        ("prod", DeadReason::MaxDeliveries, "SH1016"),
    ] {
        test_env.letter(target, reason, code).await;
    }
    test_env
}

#[tokio::test]
async fn dead_letters_are_filtered_by_reason_target_and_code() {
    let test_env = four_letters().await;
    for (args, numbers) in [
        (&[][..], &[1, 3, 4][..]),
        (&["--all"], &[1, 2, 3, 4]),
        (&["--target", "dev", "--all"], &[1, 2]),
        (&["--target", "dev"], &[1]),
        (&["--reason", "rejected"], &[2]),
        (&["--code", "SH1005"], &[2]),
        (&["--reason", "exhausted"], &[1, 3]),
        (&["--reason", "max-deliveries"], &[4]),
        (&["--code", "SH3001", "--target", "prod"], &[3]),
        (&["--since", "1h"], &[1, 3, 4]),
        (&["--since", "0s"], &[]),
        (&["--limit", "2"], &[3, 4]),
    ] {
        assert_eq!(test_env.numbers(args).await, numbers, "{args:?}");
    }
    // Before: every typing error of every sender was listed among the commands that need an operator.
    let listed = test_env.run_as("operator", &["dlq", "list"]).await;
    let said = String::from_utf8_lossy(&listed.stderr).into_owned();
    assert!(said.contains("not listed: 1 rejected command, whose senders have got the reason (--all)"), "{said}");
    let shown = test_env.run(&["dlq", "show", "3"]).await;
    for part in [
        "it went wrong",
        "istio.cmd.prod.ping",
        "\"specversion\": \"1.0\"",
        "help: Check the server address in the kubeconfig",
        "dlq replay 3",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    for args in [&["dlq", "list", "--code", "SH9999"][..], &["dlq", "purge"], &["dlq", "replay", "--dry-run"]] {
        assert_eq!(test_env.run_as("operator", args).await.status.code(), Some(2), "{args:?}");
    }
}

#[tokio::test]
async fn filtered_dead_letters_are_replayed_and_a_dry_run_sends_nothing() {
    let test_env = four_letters().await;
    let listed = test_env.run(&["dlq", "replay", "--code", "SH3001", "--dry-run"]).await;
    assert_eq!(listed.lines().count(), 1 + 2, "{listed}");
    let keys = test_env.run(&["dlq", "replay", "--code", "SH3001"]).await;
    let keys: Vec<CommandKey> = keys.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(keys.len(), 2);
    let mut sent = Vec::new();
    let mut batch = test_env.worker.pull(Queue::Commands, 8, Duration::from_secs(1));
    while let Some(delivery) = batch.next().await {
        let delivery = delivery.unwrap();
        let event: Value = serde_json::from_slice(&delivery.payload).unwrap();
        assert!(event["replayof"].is_string(), "{event}");
        sent.push(CommandKey::new(event["source"].as_str().unwrap(), event["id"].as_str().unwrap()));
    }
    assert_eq!(sent, keys, "the two, and nothing of the dry run");
    assert_eq!(test_env.numbers(&["--all"]).await, [1, 2, 3, 4], "letters stay");
    assert_eq!(test_env.run(&["dlq", "replay", "1", "1"]).await.lines().count(), 1, "one that is named twice is one");
}

#[tokio::test]
async fn purge_requires_confirmation_and_deletes_the_listed_dead_letters() {
    let test_env = four_letters().await;
    let unasked = test_env.run_as("operator", &["dlq", "purge", "--target", "dev"]).await;
    assert_eq!(unasked.status.code(), Some(2), "nobody can be asked");
    assert!(String::from_utf8_lossy(&unasked.stderr).contains("--yes"));
    assert_eq!(test_env.numbers(&["--all"]).await, [1, 2, 3, 4]);

    let shown = test_env.run(&["dlq", "purge", "--target", "prod", "--limit", "1", "--yes"]).await;
    assert_eq!(shown.lines().count(), 1 + 1, "{shown}");
    assert_eq!(test_env.numbers(&["--all"]).await, [1, 2, 3], "no more than was shown");
    test_env.run(&["dlq", "purge", "1", "3", "--yes"]).await;
    assert_eq!(test_env.numbers(&["--all"]).await, [2]);
    let gone = test_env.run_as("operator", &["dlq", "purge", "1", "2", "--yes"]).await;
    assert_eq!(gone.status.code(), Some(8), "one is not there, so none is deleted");
    assert_eq!(test_env.numbers(&["--all"]).await, [2]);
}

#[tokio::test]
async fn a_target_is_paused_and_resumed_and_everybody_sees_it() {
    let test_env = AccountsEnv::new().await;
    let stop = tokio_util::sync::CancellationToken::new();
    test_env.worker.follow_control(stop.clone()).await.unwrap();
    test_env.letter("prod", DeadReason::Exhausted, "SH3001").await;
    test_env.run(&["submit", "ping", "-t", "dev"]).await;
    test_env.run(&["pause", "dev", "--by", "ann", "--reason", "the cluster is upgraded"]).await;
    let heard = async |paused| {
        support::eventually::eventually("the worker hears of it", Duration::from_secs(10), async || {
            (test_env.worker.control().is_paused("dev") == paused).then_some(())
        })
        .await;
    };
    heard(true).await;
    let targets = test_env.lines(&["targets"]).await;
    let of = |name: &str| targets.iter().find(|target| target["target"] == name).unwrap().clone();
    assert_eq!((&of("dev")["queued"], &of("dev")["paused"]["reason"]), (&1.into(), &"the cluster is upgraded".into()));
    assert_eq!((&of("prod")["dead_letters"], &of("prod")["paused"]), (&1.into(), &Value::Null));
    assert_eq!(of("idle")["queued"], 0, "it is in the configuration");
    let text = test_env.run(&["targets", "-o", "text"]).await;
    assert!(text.contains("paused") && text.contains("by ann: the cluster is upgraded"), "{text}");

    test_env.run(&["resume", "dev"]).await;
    heard(false).await;
    let again = test_env.run_as("operator", &["resume", "dev"]).await;
    assert!(String::from_utf8_lossy(&again.stderr).contains("was not paused"));
    assert_eq!(test_env.run_as("operator", &["pause", "Not A Target"]).await.status.code(), Some(2));
    stop.cancel();
}

#[tokio::test]
async fn only_operators_cancel_and_read_state() {
    let test_env = AccountsEnv::new().await;
    let key = test_env.run(&["submit", "ping", "-t", "dev"]).await;
    assert!(test_env.run(&["get", key.trim()]).await.contains("queued"));
    for (id, code, told) in [(key.trim(), 0, "Cancellation requested"), ("no-such-id", 8, "key or id no-such-id")] {
        let asked = test_env.run_as("operator", &["cancel", id]).await;
        assert_eq!(asked.status.code(), Some(code), "{asked:?}");
        assert!(String::from_utf8_lossy(&asked.stderr).contains(told), "{asked:?}");
    }
    test_env.letter("dev", DeadReason::Exhausted, "SH3001").await;
    let operator = login(&test_env.server, &test_env.dir, "operator").await;
    let target: Target = "dev".parse().unwrap();
    for denied in [
        operator.context().publish("istio.res.dev.k", "{}".into()).await.unwrap().await.is_err(),
        operator.context().publish("$KV.istio_lease.dev.x", "{}".into()).await.unwrap().await.is_err(),
        login(&test_env.server, &test_env.dir, "producer").await.resume(&target).await.is_err(),
        login(&test_env.server, &test_env.dir, "observer").await.remove("ISTIO_DLQ", 1).await.is_err(),
    ] {
        assert!(denied);
    }
    let observed = test_env.run_as("observer", &["dlq", "list"]).await;
    assert_eq!(observed.status.code(), Some(0), "{}", String::from_utf8_lossy(&observed.stderr));
}
