//! A pool of workers with many targets: what an idle target costs, what a target in use and a watched one cost, whether
//! commands of a quiet target wait for those of flooded ones, how long queued commands of all targets take, and what a
//! rolling restart and rotated credentials cost.
//!
//! Each target has an inventory namespace of its own. All are on the local API server, so requests to it cost more CPU
//! time than anything of the workers, and its limits are not those of a thousand clusters.
//!
//! `--watched 0`, `--flooded 0` and `--commands 0` leave out memory, fairness and the rest.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement that cannot be made has to fail; it prints, and time passes"
)]
#![allow(clippy::cast_precision_loss, reason = "figures are shown with three digits")]

mod fairness;
mod memory;
mod operations;

use std::fs;
use std::path::{Path, PathBuf};

use futures::StreamExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::measure;
use crate::measure::options::Options;
use crate::measure::worker::{Target, Worker};
use crate::support::control_plane;
use crate::support::nats::NatsServer;
use sailhand::client::Client;
use sailhand::event::CommandDraft;

/// Commands published at once.
const AT_ONCE: usize = 256;
/// Part of the result of a command that succeeded.
const SUCCEEDED: &[u8] = br#""outcome":"succeeded""#;

/// A NATS server, a client of it, and the targets.
struct Bench {
    server: NatsServer,
    client: Client,
    targets: Vec<Target>,
    #[allow(dead_code, reason = "the kubeconfigs are there until it is dropped")]
    dir: TempDir,
}

#[tokio::main]
pub async fn main() {
    let known: [(_, &[usize]); 7] = [
        ("targets", &[1_000]),
        ("workers", &[4]),
        ("slots", &[64]),
        ("watched", &[200]),
        ("flooded", &[50]),
        ("backlog", &[100]),
        ("commands", &[100_000]),
    ];
    let options = Options::read(&known);
    let [targets, workers, slots] = ["targets", "workers", "slots"].map(|name| options.one(name));
    println!("\nmany_targets: {targets} targets, {workers} workers of {slots} slots, one API server for all targets");
    measure::machine(&[(Path::new(env!("CARGO_BIN_EXE_sailhand")), &["--version"])]);
    println!();
    let [watched, flooded, commands] = ["watched", "flooded", "commands"].map(|name| options.one(name));
    if watched > 0 {
        memory::measure(targets, watched).await;
    }
    if flooded > 0 {
        fairness::measure(targets, workers, slots, flooded, options.one("backlog")).await;
    }
    if commands > 0 {
        operations::measure(targets, workers, slots, commands).await;
    }
    println!("after the run: {}\n", measure::load());
}

impl Bench {
    async fn start(targets: usize) -> Self {
        let server = NatsServer::start().await;
        let client = measure::worker::client(&server.url()).await;
        let dir = TempDir::with_prefix("sailhand-bench-").unwrap();
        let access = fs::read_to_string(control_plane::kubeconfig()).unwrap();
        let target = |number: usize| {
            let kubeconfig = dir.path().join(format!("{number}.kubeconfig"));
            fs::write(&kubeconfig, &access).unwrap();
            target(number, kubeconfig)
        };
        let targets = (0..targets).map(target).collect();
        Self { server, client, targets, dir }
    }

    /// Workers that are ready.
    async fn workers(&self, number: usize, slots: usize) -> Vec<Worker> {
        let url = self.server.url();
        let starting = (0..number).map(|_| Worker::start_with(&url, &self.targets, slots));
        futures::future::join_all(starting).await
    }

    /// Sends `commands` commands, the next one to the next target.
    async fn fill(&self, targets: &[Target], commands: usize, command: impl Fn(usize) -> (&'static str, Value)) {
        let sending = futures::stream::iter(0..commands).map(|number| {
            let (verb, params) = command(number);
            self.send(&targets[number % targets.len()].name, verb, params)
        });
        sending.buffer_unordered(AT_ONCE).for_each(|()| async {}).await;
    }

    async fn send(&self, target: &str, verb: &str, params: Value) {
        let draft = CommandDraft {
            id: uuid::Uuid::new_v4().to_string(),
            source: "/bench/many_targets".to_owned(),
            verb: verb.to_owned(),
            params,
            ..CommandDraft::default()
        };
        self.client.submit(&target.parse().unwrap(), draft).await.unwrap();
    }

    /// Results as they come: target, and whether the command succeeded. The payload is searched and not parsed, so that
    /// the measurement takes little of the machine.
    async fn results(&self) -> Results {
        let bus = self.client.bus();
        let subject = bus.subjects().results();
        let at = subject.split('.').count() - 1;
        Results { subscriber: bus.context().client().subscribe(subject).await.unwrap(), at }
    }
}

fn target(number: usize, kubeconfig: PathBuf) -> Target {
    let namespace = format!("bench-many-{}-{number}", std::process::id());
    Target { name: format!("t{number}"), kubeconfig, namespace }
}

/// Results of commands.
struct Results {
    subscriber: async_nats::Subscriber,
    /// Position of the target among the tokens of the subject.
    at: usize,
}

/// One result.
struct Ended {
    target: String,
    succeeded: bool,
    at: Instant,
}

impl Results {
    async fn next(&mut self) -> Ended {
        let message = self.subscriber.next().await.unwrap();
        let target = message.subject.split('.').nth(self.at).unwrap().to_owned();
        let succeeded = message.payload.windows(SUCCEEDED.len()).any(|part| part == SUCCEEDED);
        Ended { target, succeeded, at: Instant::now() }
    }

    /// Waits for so many results, all of commands that succeeded.
    async fn succeeded(&mut self, number: usize) -> Vec<Ended> {
        let mut all = Vec::with_capacity(number);
        while all.len() < number {
            let ended = self.next().await;
            assert!(ended.succeeded, "a command of {} failed", ended.target);
            all.push(ended);
        }
        all
    }
}

/// A `config.apply` of one `ConfigMap`.
fn apply(name: &str, namespace: &str) -> Value {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": namespace },
        "data": { "key": "value ".repeat(20) },
    });
    json!({ "name": name, "manifest": object.to_string(), "create_namespace": true })
}
