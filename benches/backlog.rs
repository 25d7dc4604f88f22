//! A long queue: does the worker's memory stay flat, how long does it take, and do the commands of one target wait for
//! those of another?
//!
//! First a worker drains the whole queue of `ping`s. Then the API server of the target `slow` answers after seconds
//! only, some hundred commands for it are queued, and commands for the target `quick` are sent one after the other.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement that cannot be made has to fail; it prints, and time passes"
)]
#![allow(clippy::cast_precision_loss, reason = "figures are shown with three digits")]

use crate::measure;
use crate::support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use measure::options::Options;
use measure::worker::{Target, Worker};
use measure::{cpu, memory, quantile, table};
use sailhand::client::{Client, Observed};
use sailhand::event::{CommandDraft, CommandKey};
use serde_json::{Value, json};
use support::nats::NatsServer;
use support::tcp_proxy::{Link, TcpProxy};
use support::{api_proxy, control_plane};
use tempfile::TempDir;
use tokio::time::Instant;

/// Commands published at once.
const AT_ONCE: usize = 256;
/// Between two looks at the worker.
const LOOK: Duration = Duration::from_millis(250);
/// Before each request to the API server of `slow`, and before each answer.
const SLOW: Duration = Duration::from_secs(2);

struct Bench {
    server: NatsServer,
    client: Client,
}

#[tokio::main]
pub async fn main() {
    let known: [(_, &[usize]); 4] = [("commands", &[100_000]), ("slots", &[64]), ("slow", &[500]), ("quick", &[20])];
    let options = Options::read(&known);
    let (commands, slots) = (options.one("commands"), options.one("slots"));
    println!("\nbacklog: {commands} queued commands, one worker of {slots} slots");
    measure::machine(&[(Path::new(env!("CARGO_BIN_EXE_sailhand")), &["--version"])]);
    let bench = Bench::start().await;
    bench.drain(commands, slots).await;
    bench.beside_a_slow_target(options.one("slow"), options.one("quick"), slots).await;
    println!("after the run: {}\n", measure::load());
}

impl Bench {
    async fn start() -> Self {
        let server = NatsServer::start().await;
        let client = measure::worker::client(&server.url()).await;
        Self { server, client }
    }

    async fn drain(&self, commands: usize, slots: usize) {
        let filling = Instant::now();
        self.fill("quick", commands, |_| ("ping", json!({ "echo": "hello" }))).await;
        println!("queued within {:.1} s", filling.elapsed().as_secs_f64());
        let worker = Worker::start_with(&self.server.url(), &[target("quick", Path::new("/none"))], slots).await;
        let (start, mut held) = (Instant::now(), Vec::new());
        let (first, used) = (self.queued().await, cpu(worker.pid()));
        let mut rows = vec![["s", "left", "resident MiB", "commands/s"].map(str::to_owned).to_vec()];
        let mut left = first;
        while left > 0 {
            tokio::time::sleep(LOOK).await;
            left = self.queued().await;
            held.push((start.elapsed(), left, memory(worker.pid(), "VmRSS")));
        }
        let took = start.elapsed().as_secs_f64();
        let step = held.len().div_ceil(12).max(1);
        for (at, left, resident) in held.iter().skip(step - 1).step_by(step) {
            let rate = (first - left) as f64 / at.as_secs_f64();
            rows.push(vec![
                format!("{:.1}", at.as_secs_f64()),
                left.to_string(),
                format!("{resident:.1}"),
                format!("{rate:.0}"),
            ]);
        }
        table(&rows);
        let used = cpu(worker.pid()).saturating_sub(used).as_secs_f64() * 1e6 / first as f64;
        println!(
            "drained within {took:.1} s; {:.0} commands/s, {used:.0} µs of CPU for each; at most ever {:.1} MiB resident\n",
            first as f64 / took,
            memory(worker.pid(), "VmHWM")
        );
    }

    /// Latencies of `quick` alone, then while `slow` has more commands than there are slots.
    async fn beside_a_slow_target(&self, slow: usize, quick: usize, slots: usize) {
        let dir = TempDir::with_prefix("sailhand-bench-").unwrap();
        let api = api_proxy::ApiProxy::start("bench", control_plane::kubeconfig(), api_proxy::Record::default()).await;
        let link = TcpProxy::start(api.port()).await;
        let targets =
            [target("quick", control_plane::kubeconfig()), target("slow", &kubeconfig(dir.path(), link.port()))];
        let worker = Worker::start_with(&self.server.url(), &targets, slots).await;
        self.latencies("warm", 3).await;
        let mut alone = self.latencies("alone", quick).await;
        link.set(Link::Slow(SLOW));
        self.fill("slow", slow, |number| ("config.apply", apply(&format!("slow-{number}")))).await;
        // All slots have had time to be taken.
        tokio::time::sleep(SLOW).await;
        let mut beside = self.latencies("beside", quick).await;
        let left = self.queued().await;
        drop(worker);
        println!("config.apply of one object on `quick`, from before its publish to its result, one after the other;");
        println!(
            "a request to `slow` takes {:.0} s, {slow} commands for it were queued, {left} are left:",
            SLOW.as_secs_f64() * 2.0
        );
        let mut rows = vec![["", "p50 ms", "p99 ms", "worst ms"].map(str::to_owned).to_vec()];
        for (name, taken) in [("alone", &mut alone), ("beside `slow`", &mut beside)] {
            let of = |taken: &mut Vec<Duration>, share| format!("{:.0}", quantile(taken, share));
            rows.push(vec![name.to_owned(), of(taken, 0.5), of(taken, 0.99), of(taken, 1.0)]);
        }
        table(&rows);
    }

    async fn latencies(&self, tag: &str, commands: usize) -> Vec<Duration> {
        let mut taken = Vec::with_capacity(commands);
        for number in 0..commands {
            let start = Instant::now();
            let key = self.send("quick", "config.apply", apply(&format!("{tag}-{number}"))).await;
            let mut told = self.client.watch_command(&key);
            while !matches!(told.next().await.unwrap().unwrap().observed, Observed::Result(_)) {}
            taken.push(start.elapsed());
        }
        taken
    }

    async fn fill(&self, target: &str, commands: usize, command: impl Fn(usize) -> (&'static str, Value)) {
        let sent = futures::stream::iter(0..commands)
            .map(|number| {
                let (verb, params) = command(number);
                self.send(target, verb, params)
            })
            .buffer_unordered(AT_ONCE);
        sent.for_each(|_| async {}).await;
    }

    async fn send(&self, target: &str, verb: &str, params: Value) -> CommandKey {
        let draft = CommandDraft {
            id: uuid::Uuid::new_v4().to_string(),
            source: "/bench/backlog".to_owned(),
            verb: verb.to_owned(),
            params,
            ..CommandDraft::default()
        };
        self.client.submit(&target.parse().unwrap(), draft).await.unwrap().key
    }

    async fn queued(&self) -> u64 {
        let bus = self.client.bus();
        let stream = bus.context().get_stream(bus.subjects().command_stream()).await.unwrap();
        stream.cached_info().state.messages
    }
}

fn target(name: &str, kubeconfig: &Path) -> Target {
    let namespace = format!("bench-backlog-{}-{name}", std::process::id());
    Target { name: name.to_owned(), kubeconfig: kubeconfig.to_owned(), namespace }
}

/// Of the API server behind a port without TLS.
fn kubeconfig(dir: &Path, port: u16) -> PathBuf {
    let file = dir.join("slow.kubeconfig");
    let access = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{"name": "a", "cluster": {"server": format!("http://127.0.0.1:{port}")}}],
        "users": [{"name": "a", "user": {}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
    });
    std::fs::write(&file, access.to_string()).unwrap();
    file
}

fn apply(name: &str) -> Value {
    let object =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": "default" } });
    json!({ "name": name, "manifest": object.to_string(), "create_namespace": true })
}
