//! `mesh.install` of base and istiod by a worker process, beside `helm install --wait` of the same charts and
//! `istioctl install`, on the same API server, in turns. Cold into a cluster without Istio, the worker freshly started
//! and without anything kept; then the same again, which changes nothing.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a measurement that cannot be made has to fail; it prints"
)]

mod tools;

use crate::measure;
use crate::support;

use std::path::Path;

use futures::StreamExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use measure::process::{Children, Run};
use measure::worker::Worker;
use measure::{cpu, cpu_of_children_of, median, memory, table};
use sailhand::bus::nats;
use sailhand::bus::topology::Topology;
use sailhand::client::{Client, Observed};
use sailhand::config::Config;
use sailhand::event::{CommandDraft, Outcome};
use serde_json::json;
use support::nats::NatsServer;
use support::{charts, control_plane, istiod};
use tokio::time::Instant;
use tools::Tool;

const ROUNDS: usize = 3;
/// Installs it again so many times in a row.
const AGAIN: usize = 3;

/// Who installs, in the order of the columns.
const WHO: [&str; 3] = ["istioctl", "helm", "sailhand"];

#[tokio::main]
pub async fn main() {
    println!("\ninstall: base and istiod {}, ready on simulated nodes", tools::VERSION);
    if charts::are_missing() {
        return;
    }
    let (istioctl, helm) = (tools::istioctl(), tools::helm());
    measure::machine(&[
        (&istioctl, &["version", "--remote=false"]),
        (&helm, &["version", "--short"]),
        (Path::new(env!("CARGO_BIN_EXE_sailhand")), &["--version"]),
    ]);
    println!("{ROUNDS} rounds in turns, medians\n");

    let config = Kubeconfig::read_from(control_plane::kubeconfig()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
    let standin = tokio::spawn(istiod::stand_in(kube::Client::try_from(config).unwrap()));
    let server = NatsServer::start().await;
    let mut settings = Config::default();
    settings.nats.url = vec![server.url()];
    let client = Client::connect(&settings).await.unwrap();
    nats::topology::apply(client.bus(), &Topology::new(&settings.bus)).await.unwrap();

    let (mut cold, mut same) = ([const { Vec::new() }; 3], [const { Vec::new() }; 3]);
    let (mut worker, mut rendering) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for turn in 0..WHO.len() {
            let who = (round + turn) % WHO.len();
            clean().await;
            match WHO[who] {
                "sailhand" => {
                    let ours = Ours::start(&server, &client).await;
                    let children = Children::of(ours.worker.pid());
                    cold[who].push(ours.install(true).await);
                    rendering.push(children.peak());
                    for _ in 0..AGAIN {
                        same[who].push(ours.install(false).await);
                    }
                    worker.push(memory(ours.worker.pid(), "VmHWM"));
                }
                tool => {
                    cold[who].push(theirs(tool, true).await);
                    for _ in 0..AGAIN {
                        same[who].push(theirs(tool, false).await);
                    }
                }
            }
        }
    }
    clean().await;
    standin.abort();
    show("cold", &cold, "to be: at most helm's, at most half of istioctl's", [0.5, 1.0]);
    show("no change", &same, "to be: at most a third of istioctl's, a sixth of helm's", [1.0 / 3.0, 1.0 / 6.0]);
    let most = |runs: &[Run]| median(runs.iter().map(|run| run.peak).collect());
    let (istioctl, worker) = (most(&cold[0]), median(worker));
    println!(
        "most memory: istioctl {istioctl:.1} MiB, helm {:.1} MiB, worker {worker:.1} MiB (to be: at most half of \
         istioctl's: {}), helm in its service {:.1} MiB",
        most(&cold[1]),
        verdict(worker <= istioctl / 2.0),
        median(rendering)
    );
    println!("after the run: {}\n", measure::load());
}

fn verdict(holds: bool) -> &'static str {
    if holds { "yes" } else { "NO" }
}

/// One table: seconds and CPU of each, and whether ours keeps to these shares of theirs.
fn show(name: &str, runs: &[Vec<Run>; 3], bar: &str, shares: [f64; 2]) {
    let of = |field: fn(&Run) -> f64| runs.each_ref().map(|runs| median(runs.iter().map(field).collect()));
    let (took, cpu) = (of(|run| run.took.as_secs_f64()), of(|run| run.cpu.as_secs_f64()));
    let row = |label: &str, cells: [f64; 3]| {
        std::iter::once(label.to_owned()).chain(cells.iter().map(|cell| format!("{cell:.2}"))).collect::<Vec<_>>()
    };
    let head = std::iter::once(name).chain(WHO).map(str::to_owned).collect();
    table(&[head, row("seconds", took), row("CPU seconds", cpu), row("÷ sailhand", took.map(|it| it / took[2]))]);
    let holds = (0..2).all(|who| took[2] <= took[who] * shares[who]);
    println!("  {bar}: {}\n", verdict(holds));
}

/// A worker that was just started, with nothing kept.
struct Ours<'a> {
    client: &'a Client,
    worker: Worker,
    _cache: tempfile::TempDir,
}

impl<'a> Ours<'a> {
    async fn start(server: &NatsServer, client: &'a Client) -> Self {
        let cache = tempfile::TempDir::with_prefix("sailhand-bench-charts-").unwrap();
        let charts = format!(
            "[charts]\nsource = {:?}\nhelm = {:?}\ncache = {:?}\n",
            charts::folder().display().to_string(),
            tools::helm().display().to_string(),
            cache.path().display().to_string()
        );
        let worker = Worker::configured(&server.url(), Some(control_plane::kubeconfig()), &charts).await;
        Self { client, worker, _cache: cache }
    }

    /// From before the command is sent until its result is here. The CPU is the worker's and its helm's.
    async fn install(&self, changes: bool) -> Run {
        let pid = self.worker.pid();
        let used = || cpu(pid) + cpu_of_children_of(pid);
        let draft = CommandDraft {
            id: uuid::Uuid::new_v4().to_string(),
            source: "/bench/install".to_owned(),
            verb: "mesh.install".to_owned(),
            params: json!({ "version": tools::VERSION, "profile": "minimal" }),
            ..CommandDraft::default()
        };
        let (before, start) = (used(), Instant::now());
        let key = self.client.submit(&"dev".parse().unwrap(), draft).await.unwrap().key;
        let mut told = self.client.watch_command(&key);
        let result = loop {
            if let Observed::Result(result) = told.next().await.unwrap().unwrap().observed {
                break result;
            }
        };
        let took = start.elapsed();
        assert_eq!((result.outcome, result.changed), (Outcome::Succeeded, changes), "{:?}", result.error);
        Run { took, cpu: used().saturating_sub(before), peak: 0.0 }
    }
}

async fn theirs(name: &'static str, first: bool) -> Run {
    let tool = Tool(control_plane::kubeconfig());
    let run = move || if name == "istioctl" { tool.istioctl() } else { tool.helm(first) };
    tokio::task::spawn_blocking(run).await.unwrap()
}

async fn clean() {
    let tool = Tool(control_plane::kubeconfig());
    tokio::task::spawn_blocking(move || tool.clean()).await.unwrap();
}
