//! `config.apply` of 500 objects by a worker process, beside `kubectl apply --server-side`, Flux (fluxcd/pkg/ssa) and bare
//! writes (each object once, 16 at a time) of the same file on the same API server, in turns. Cold in namespaces that do not
//! exist; then a release that changes each object; then the same again, which changes nothing.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot be made has to fail; it prints"
)]

mod manifest;

use crate::measure;
use crate::support;

use std::fs::File;
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

/// Writes at once of the bare contender, as many as a worker has.
const PARALLEL: &str = "16";

/// Who applies.
#[derive(Clone, Copy)]
enum Tool {
    Kubectl,
    Flux,
    Bare,
    Sailhand,
}

const TOOLS: [Tool; 4] = [Tool::Kubectl, Tool::Flux, Tool::Bare, Tool::Sailhand];
const NAMES: [&str; 4] = ["kubectl", "flux", "bare", "sailhand"];

/// What a run finds: nothing, another release, the same release.
const PHASES: [&str; 3] = ["cold", "each changed", "no change"];

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
    println!("\napply: {OBJECTS} objects in {} namespaces, sailhand beside others", manifest::NAMESPACES);
    measure::machine(&[
        (&kubectl, &["version", "--client"]),
        (Path::new(env!("CARGO_BIN_EXE_sailhand")), &["--version"]),
    ]);
    println!("{ROUNDS} rounds in turns, medians of seconds; CPU of the tool's process, and of the worker\n");
    let server = NatsServer::start().await;
    let bench = Bench::start(&server).await;
    // Discovery is behind both then.
    let small = bench.file("warm", 12, 1);
    bench.run(Tool::Kubectl, "warm", &small, true).await;
    bench.run(Tool::Sailhand, "warm", &small, true).await;

    let mut runs: [[Vec<Run>; 4]; 3] = Default::default();
    for round in 0..ROUNDS {
        for turn in 0..TOOLS.len() {
            let who = (round + turn) % TOOLS.len();
            let tag = format!("{}-{round}", NAMES[who]);
            for (phase, release) in [1, 2, 2].into_iter().enumerate() {
                let file = bench.file(&tag, OBJECTS, release);
                runs[phase][who].push(bench.run(TOOLS[who], &tag, &file, phase < 2).await);
            }
        }
    }
    let mut rows = vec![
        ["", "kubectl", "flux", "bare", "sailhand", "÷ bare", "kubectl CPU", "flux CPU", "bare CPU", "sailhand CPU"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (name, runs) in PHASES.iter().zip(&runs) {
        let of = |field: fn(&Run) -> Duration| {
            runs.each_ref().map(|runs| median(runs.iter().map(|run| field(run).as_secs_f64()).collect()))
        };
        let (took, cpu) = (of(|run| run.took), of(|run| run.cpu));
        history::record(format!("apply {OBJECTS} objects, {name}: CPU s"), Better::Lower, cpu[3]);
        let text = |seconds: &f64| format!("{seconds:.2}");
        let mut row = vec![(*name).to_owned()];
        row.extend(took.iter().map(text));
        row.push(format!("{:.2}", took[3] / took[2]));
        row.extend(cpu.iter().map(text));
        rows.push(row);
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
    fn file(&self, tag: &str, objects: usize, release: u32) -> std::path::PathBuf {
        let path = self.dir.path().join(format!("{tag}.yaml"));
        let prefix = format!("bench-{}-{tag}", std::process::id());
        std::fs::write(&path, manifest::text(&prefix, objects, release)).unwrap();
        path
    }

    async fn run(&self, tool: Tool, tag: &str, file: &Path, changes: bool) -> Run {
        let kubeconfig = control_plane::kubeconfig();
        let mut command = match tool {
            Tool::Sailhand => return self.sailhand(tag, file, changes).await,
            Tool::Kubectl => {
                let mut command = Command::new(tools::program("kubectl", "KUBECTL_BIN"));
                command.arg("--cache-dir").arg(self.dir.path()).args(["apply", "--server-side", "-f"]).arg(file);
                command
            }
            Tool::Flux => Command::new(tools::program("flux-ssa", "SAILHAND_FLUX_SSA")),
            Tool::Bare => {
                let mut command = Command::new(tools::program("flux-ssa", "SAILHAND_FLUX_SSA"));
                command.args(["-bare", "-concurrency", PARALLEL]);
                command
            }
        };
        command.arg("--kubeconfig").arg(kubeconfig).stdin(File::open(file).unwrap()).stdout(Stdio::null());
        let (before, start) = (cpu_of_children(), Instant::now());
        let status = tokio::task::spawn_blocking(move || command.status()).await.unwrap().unwrap();
        let elapsed = start.elapsed();
        assert!(status.success(), "{} ended with {status}", NAMES[tool as usize]);
        Run { took: elapsed, cpu: cpu_of_children().saturating_sub(before) }
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
        let file = self.file("sailhand-0", OBJECTS, 2);
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
