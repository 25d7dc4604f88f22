//! `config.apply` of 10 objects each by 1, 2, 4 and 8 worker processes over 8 targets, which are 8 namespaces of one
//! API server. With one command at a time for each worker it shows what another worker adds; with the usual 64 it shows
//! the limit, and whose it is: the CPU time of the API server and etcd beside that of the workers.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot be made has to fail; it prints"
)]
#![allow(clippy::cast_precision_loss, reason = "figures are shown with three digits")]

use crate::measure;
use crate::support;

use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use measure::options::Options;
use measure::worker::{Target, Worker};
use measure::{cpu, median, quantile, table};
use sailhand::client::{Client, Observed};
use sailhand::event::{CommandDraft, Outcome};
use serde_json::json;
use support::nats::NatsServer;
use support::{control_plane, tools};
use time::OffsetDateTime;
use tokio::time::Instant;

const TARGETS: usize = 8;
/// Commands published at once.
const AT_ONCE: usize = 16;

/// CPU time of each party.
#[derive(Clone, Copy, Default)]
struct Cpu {
    workers: Duration,
    api: Duration,
    etcd: Duration,
}

/// One run.
struct Run {
    took: Duration,
    cpu: Cpu,
    /// From publish to result.
    p50: f64,
}

struct Bench {
    server: NatsServer,
    client: Client,
    targets: Vec<Target>,
    objects: usize,
    commands: usize,
}

#[tokio::main]
pub async fn main() {
    let known: [(_, &[usize]); 5] =
        [("workers", &[1, 2, 4, 8]), ("slots", &[1, 64]), ("objects", &[10]), ("commands", &[160]), ("rounds", &[3])];
    let options = Options::read(&known);
    let (objects, commands, rounds) = (options.one("objects"), options.one("commands"), options.one("rounds"));
    println!(
        "\nscale: config.apply of {objects} objects, {commands} commands over {TARGETS} targets on one API server"
    );
    let api = tools::program("kube-apiserver", "KUBE_APISERVER_BIN");
    measure::machine(&[(&api, &["--version"]), (Path::new(env!("CARGO_BIN_EXE_sailhand")), &["--version"])]);
    println!("{rounds} rounds in turns, medians; new installations in each; everything runs on this machine\n");
    let bench = Bench::start(objects, commands).await;
    bench.run(1, 64, "warm").await; // discovery and the namespaces are there then
    let mut setups = Vec::new();
    for &slots in options.list("slots") {
        setups.extend(options.list("workers").iter().map(|workers| (*workers, slots, Vec::new())));
    }
    for round in 0..rounds {
        for (workers, slots, runs) in &mut setups {
            runs.push(bench.run(*workers, *slots, &format!("r{round}-{workers}-{slots}")).await);
        }
    }
    let head = ["workers × slots", "commands/s", "objects/s", "p50 ms", "busy cores", "API server", "etcd", "workers"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (workers, slots, runs) in &setups {
        rows.push(bench.row(format!("{workers} × {slots}"), runs));
    }
    println!("CPU in ms for one command; busy cores: that of all three for each second, of {} cores.", cores());
    table(&rows);
    println!("after the run: {}\n", measure::load());
}

fn cores() -> usize {
    std::thread::available_parallelism().unwrap().get()
}

impl Bench {
    async fn start(objects: usize, commands: usize) -> Self {
        let server = NatsServer::start().await;
        let client = measure::worker::client(&server.url()).await;
        let kubeconfig = control_plane::kubeconfig().to_owned();
        let target = |number| Target {
            name: format!("t{number}"),
            kubeconfig: kubeconfig.clone(),
            namespace: format!("bench-scale-{}-{number}", std::process::id()),
        };
        Self { server, client, targets: (0..TARGETS).map(target).collect(), objects, commands }
    }

    /// All commands, sent when the workers are ready, to the last result.
    async fn run(&self, workers: usize, slots: usize, tag: &str) -> Run {
        let url = self.server.url();
        let starting = (0..workers).map(|_| Worker::start_with(&url, &self.targets, slots));
        let workers = futures::future::join_all(starting).await;
        let mut told = self.client.watch_all(OffsetDateTime::now_utc()).await.unwrap();
        let (before, start) = (used(&workers), Instant::now());
        let mut sent = std::collections::HashMap::new();
        let mut sending = futures::stream::iter(0..self.commands)
            .map(|number| async move {
                let target = &self.targets[number % TARGETS];
                let draft = self.draft(&target.namespace, &format!("{tag}-{number}"));
                let at = Instant::now();
                let submitted = self.client.submit(&target.name.parse().unwrap(), draft).await.unwrap();
                (submitted.key, at)
            })
            .buffer_unordered(AT_ONCE);
        while let Some((key, at)) = sending.next().await {
            sent.insert(key, at);
        }
        let mut latencies = Vec::new();
        while latencies.len() < self.commands {
            let observation = told.next().await.unwrap().unwrap();
            let Observed::Result(result) = observation.observed else { continue };
            let Some(at) = sent.get(&observation.key) else { continue };
            assert_eq!((result.outcome, result.changed), (Outcome::Succeeded, true), "{:?}", result.error);
            latencies.push(at.elapsed());
        }
        let took = start.elapsed();
        let after = used(&workers);
        let cpu = Cpu {
            workers: after.workers.saturating_sub(before.workers),
            api: after.api.saturating_sub(before.api),
            etcd: after.etcd.saturating_sub(before.etcd),
        };
        Run { took, cpu, p50: quantile(&mut latencies, 0.5) }
    }

    /// Half of the objects are config maps, the others services, accounts and deployments without pods.
    fn draft(&self, namespace: &str, name: &str) -> CommandDraft {
        let object = |number: usize| {
            let metadata = json!({ "name": format!("{name}-{number}"), "namespace": namespace });
            let labels = json!({ "app": format!("{name}-{number}") });
            match number % 6 {
                1 => json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata }),
                3 => json!({
                    "apiVersion": "v1", "kind": "Service", "metadata": metadata,
                    "spec": { "selector": labels, "ports": [{ "name": "http", "port": 80 }] },
                }),
                5 => json!({
                    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
                    "spec": { "replicas": 0, "selector": { "matchLabels": labels }, "template": {
                        "metadata": { "labels": labels },
                        "spec": { "containers": [{ "name": "app", "image": "registry.example/app:1" }] },
                    } },
                }),
                _ => json!({
                    "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata,
                    "data": { "key": "value ".repeat(20) },
                }),
            }
        };
        let manifest: Vec<_> = (0..self.objects).map(|number| object(number).to_string()).collect();
        CommandDraft {
            id: uuid::Uuid::new_v4().to_string(),
            source: "/bench/scale".to_owned(),
            verb: "config.apply".to_owned(),
            params: json!({ "name": name, "manifest": manifest.join("\n---\n"), "create_namespace": true }),
            ..CommandDraft::default()
        }
    }

    fn row(&self, name: String, runs: &[Run]) -> Vec<String> {
        let of = |field: &dyn Fn(&Run) -> f64| median(runs.iter().map(field).collect());
        let commands = self.commands as f64;
        let each =
            |field: fn(&Cpu) -> Duration| format!("{:.1}", of(&|run| field(&run.cpu).as_secs_f64() * 1e3 / commands));
        let rate = of(&|run| commands / run.took.as_secs_f64());
        let busy = |run: &Run| (run.cpu.workers + run.cpu.api + run.cpu.etcd).as_secs_f64() / run.took.as_secs_f64();
        vec![
            name,
            format!("{rate:.1}"),
            format!("{:.0}", rate * self.objects as f64),
            format!("{:.0}", of(&|run| run.p50)),
            format!("{:.2}", of(&busy)),
            each(|cpu| cpu.api),
            each(|cpu| cpu.etcd),
            each(|cpu| cpu.workers),
        ]
    }
}

/// By now.
fn used(workers: &[Worker]) -> Cpu {
    let state = control_plane::kubeconfig().parent().unwrap();
    let pid = |name: &str| std::fs::read_to_string(state.join(format!("{name}.pid"))).unwrap().trim().parse().unwrap();
    Cpu {
        workers: workers.iter().map(|worker| cpu(worker.pid())).sum(),
        api: cpu(pid("kube-apiserver")),
        etcd: cpu(pid("etcd")),
    }
}
