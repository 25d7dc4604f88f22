//! `config.apply` of 500 objects by a worker process, beside `kubectl apply --server-side` of the same file on the same
//! API server, in turns. Cold in namespaces that do not exist; then the same again, which changes nothing.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot be made has to fail; it prints"
)]

mod manifest;

use crate::measure;
use crate::support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures::StreamExt;
use measure::history::{self, Better};
use measure::worker::Worker;
use measure::{cpu, cpu_of_children, median, memory, table};
use sailhand::bus::nats;
use sailhand::bus::topology::Topology;
use sailhand::client::{Client, Observed};
use sailhand::config::Config;
use sailhand::event::{CommandDraft, Outcome};
use serde_json::json;
use support::nats::NatsServer;
use support::{control_plane, tools};
use tempfile::TempDir;
use tokio::time::Instant;

const ROUNDS: usize = 3;
const OBJECTS: usize = 500;
/// No-change runs in a row, before and after which the worker's memory is read.
const AGAIN: usize = 10;

/// One run.
struct Run {
    took: Duration,
    cpu: Duration,
}

struct Bench {
    dir: TempDir,
    client: Client,
    worker: Worker,
}

#[tokio::main]
pub async fn main() {
    let kubectl = tools::program("kubectl", "KUBECTL_BIN");
    println!("\napply: {OBJECTS} objects in {} namespaces, sailhand beside kubectl", manifest::NAMESPACES);
    measure::machine(&[
        (&kubectl, &["version", "--client"]),
        (Path::new(env!("CARGO_BIN_EXE_sailhand")), &["--version"]),
    ]);
    println!("{ROUNDS} rounds in turns, medians; CPU of kubectl, and of the worker\n");
    let server = NatsServer::start().await;
    let bench = Bench::start(&server).await;
    // Discovery is behind both then.
    let small = bench.file("warm", 12);
    bench.kubectl(&small).await;
    bench.sailhand("warm", &small, true).await;

    let (mut cold, mut same) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for round in 0..ROUNDS {
        for turn in 0..2 {
            let ours = (round + turn) % 2;
            let tag = format!("{}-{round}", ["kubectl", "sailhand"][ours]);
            let file = bench.file(&tag, OBJECTS);
            for (runs, changes) in [(&mut cold, true), (&mut same, false)] {
                runs[ours].push(match ours {
                    0 => bench.kubectl(&file).await,
                    _ => bench.sailhand(&tag, &file, changes).await,
                });
            }
        }
    }
    let mut rows = vec![
        ["", "kubectl s", "sailhand s", "kubectl ÷ sailhand", "kubectl CPU s", "sailhand CPU s"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (name, runs) in [("cold", &cold), ("no change", &same)] {
        let [theirs, ours] = [0, 1].map(|who| {
            let of =
                |field: fn(&Run) -> Duration| median(runs[who].iter().map(|run| field(run).as_secs_f64()).collect());
            (of(|run| run.took), of(|run| run.cpu))
        });
        history::record(format!("apply {OBJECTS} objects, {name}: CPU s"), Better::Lower, ours.1);
        rows.push(vec![
            name.to_owned(),
            format!("{:.2}", theirs.0),
            format!("{:.2}", ours.0),
            format!("{:.1}", theirs.0 / ours.0),
            format!("{:.2}", theirs.1),
            format!("{:.2}", ours.1),
        ]);
    }
    table(&rows);
    bench.memory().await;
    println!("after the run: {}\n", measure::load());
}

impl Bench {
    async fn start(server: &NatsServer) -> Self {
        let mut config = Config::default();
        config.nats.url = vec![server.url()];
        let client = Client::connect(&config).await.unwrap();
        nats::topology::apply(client.bus(), &Topology::new(&config.bus)).await.unwrap();
        let worker = Worker::start(&server.url(), Some(control_plane::kubeconfig())).await;
        Self { dir: TempDir::with_prefix("sailhand-bench-").unwrap(), client, worker }
    }

    /// A manifest in namespaces of its own. The run's process id keeps a used cluster from knowing them.
    fn file(&self, tag: &str, objects: usize) -> std::path::PathBuf {
        let path = self.dir.path().join(format!("{tag}.yaml"));
        std::fs::write(&path, manifest::text(&format!("bench-{}-{tag}", std::process::id()), objects)).unwrap();
        path
    }

    async fn kubectl(&self, file: &Path) -> Run {
        let mut command = Command::new(tools::program("kubectl", "KUBECTL_BIN"));
        command.arg("--kubeconfig").arg(control_plane::kubeconfig()).arg("--cache-dir").arg(self.dir.path());
        command.args(["apply", "--server-side", "-f"]).arg(file).stdout(Stdio::null());
        let (before, start) = (cpu_of_children(), Instant::now());
        let status = tokio::task::spawn_blocking(move || command.status()).await.unwrap().unwrap();
        let took = start.elapsed();
        assert!(status.success(), "kubectl ended with {status}");
        Run { took, cpu: cpu_of_children().saturating_sub(before) }
    }

    /// From before the command is sent until its result is here.
    async fn sailhand(&self, name: &str, file: &Path, changes: bool) -> Run {
        let draft = CommandDraft {
            id: uuid::Uuid::new_v4().to_string(),
            source: "/bench/apply".to_owned(),
            verb: "config.apply".to_owned(),
            params: json!({ "name": name, "manifest": std::fs::read_to_string(file).unwrap() }),
            ..CommandDraft::default()
        };
        let (before, start) = (cpu(self.worker.pid()), Instant::now());
        let key = self.client.submit(&"dev".parse().unwrap(), draft).await.unwrap().key;
        let mut told = self.client.watch_command(&key);
        let result = loop {
            if let Observed::Result(result) = told.next().await.unwrap().unwrap().observed {
                break result;
            }
        };
        let took = start.elapsed();
        assert_eq!((result.outcome, result.changed), (Outcome::Succeeded, changes), "{:?}", result.error);
        Run { took, cpu: cpu(self.worker.pid()).saturating_sub(before) }
    }

    /// Is anything kept of what is done with?
    async fn memory(&self) {
        let pid = self.worker.pid();
        let file = self.file("sailhand-0", OBJECTS);
        let before = memory(pid, "VmRSS");
        for _ in 0..AGAIN {
            self.sailhand("sailhand-0", &file, false).await;
        }
        let (after, most) = (memory(pid, "VmRSS"), memory(pid, "VmHWM"));
        println!(
            "worker's resident memory: {before:.1} MiB, after {AGAIN} more runs {after:.1} MiB, at most ever {most:.1} MiB"
        );
    }
}
