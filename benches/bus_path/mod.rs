//! `ping` through the engine, beside the same messages written bare on the NATS client. Both drain the same queue, on
//! servers of their own, in turns: one server, and a cluster of three whose streams have three replicas; one worker, and
//! four with a connection each that share what is in flight. The publisher is done before the clock starts, so it does
//! not count.
//!
//! Both make six requests for each command: its share of a pull, a look for a result, the attempt record by swap,
//! `started`, the result by swap, the confirmed ack. Bare, the payloads are ready-made copies of the engine's, nothing
//! is parsed, checked or logged, and there is no guard, deadline or heartbeat.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot be made has to fail with a message; it prints"
)]
#![allow(clippy::cast_precision_loss, reason = "figures are shown with three digits")]

mod bare;
mod engine;
mod queue;

use crate::measure;
use crate::support;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::Statistics;
use futures::FutureExt;
use futures::future::BoxFuture;
use measure::history::{self, Better};
use measure::options::Options;
use measure::{median, quantile, table};
use queue::Queue;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Commands that are drained with so many in flight.
const fn commands(in_flight: usize) -> usize {
    match in_flight {
        1 => 1_000,
        2..=16 => 6_000,
        _ => 16_000,
    }
}

/// What is measured beside bare.
#[derive(Clone, Copy)]
struct Setup {
    replicas: usize,
    workers: usize,
    in_flight: usize,
    commands: usize,
}

impl Setup {
    fn name(self) -> String {
        format!("R{}, {} × {}", self.replicas, self.workers, self.in_flight / self.workers)
    }
}

/// From receipt to confirmed ack, of each command.
struct Latencies {
    taken: Mutex<Vec<Duration>>,
    wanted: usize,
    all: Notify,
}

impl Latencies {
    fn new(wanted: usize) -> Self {
        Self { taken: Mutex::default(), wanted, all: Notify::new() }
    }

    /// A command that was received at `since` is settled.
    fn settled(&self, since: Instant) {
        let mut taken = self.taken.lock().unwrap();
        taken.push(since.elapsed());
        if taken.len() == self.wanted {
            self.all.notify_one();
        }
    }
}

/// One drain.
struct Drained {
    per_second: f64,
    p50: f64,
    p99: f64,
    /// Of this process, for one command.
    cpu_us: f64,
    /// Sent to the server for one command: the two paths have to be alike in this.
    messages: f64,
}

#[derive(Clone, Copy, PartialEq)]
enum Path {
    Sailhand,
    Bare,
}

#[tokio::main]
pub async fn main() {
    // Commands one by one; percent of the commands that are drained.
    let known: [(_, &[usize]); 6] = [
        ("replicas", &[1, 3]),
        ("workers", &[1, 4]),
        ("in-flight", &[1, 16, 64, 256]),
        ("rounds", &[3]),
        ("single", &[300]),
        ("percent", &[100]),
    ];
    let options = Options::read(&known);
    let rounds = options.one("rounds");
    let server = support::tools::program("nats-server", "NATS_SERVER_BIN");
    println!("\nbus_path: ping, sailhand beside the same messages written bare on async-nats");
    measure::machine(&[(&server, &["--version"])]);
    println!(
        "sailhand {}, {rounds} rounds in turns, medians; new servers for each drain, files on disk\n",
        env!("CARGO_PKG_VERSION")
    );
    engine::log_as_a_worker();
    let sample = bare::sample().await;
    println!("bytes: {sample}\n");

    let mut rows =
        vec![head(&["setup", "path", "commands/s", "p50 ms", "p99 ms", "CPU µs", "messages", "of bare", "own µs"])];
    for setup in setups(&options) {
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let order = if round % 2 == 0 { [Path::Bare, Path::Sailhand] } else { [Path::Sailhand, Path::Bare] };
            for path in order {
                let drained = drain(path, &sample, setup).await;
                if path == Path::Sailhand { ours.push(drained) } else { bare.push(drained) }
            }
        }
        let (ours, bare) = (middle(&ours), middle(&bare));
        record(setup, &ours, &bare);
        rows.push(row(setup, "bare", &bare, ["", ""].map(str::to_owned)));
        let ratio = format!("{:.0} %", 100.0 * ours.per_second / bare.per_second);
        rows.push(row(setup, "sailhand", &ours, [ratio, format!("{:.0}", ours.cpu_us - bare.cpu_us)]));
    }
    println!(
        "Draining a full queue. Latency: from receipt to confirmed ack. CPU: user and system time of this process,"
    );
    println!(
        "which is the workers alone, for one command; own: what sailhand takes more than bare. Messages: sent for one command."
    );
    table(&rows);

    let single = options.one("single");
    if single == 0 {
        return;
    }
    let mut rows = vec![head(&["", "path", "p50 ms", "p99 ms", "of bare"])];
    for &replicas in options.list("replicas") {
        let mut bare = 0.0;
        for path in [Path::Bare, Path::Sailhand] {
            let mut taken = one_by_one(path, &sample, replicas, single).await;
            let (name, p50) = (if path == Path::Bare { "bare" } else { "sailhand" }, quantile(&mut taken, 0.5));
            let ratio = if path == Path::Bare { String::new() } else { format!("{:.2}", p50 / bare) };
            bare = p50;
            let (replicas, p99) = (format!("R{replicas}"), format!("{:.2}", quantile(&mut taken, 0.99)));
            rows.push(vec![replicas, name.to_owned(), format!("{p50:.2}"), p99, ratio]);
        }
    }
    println!("One command at a time, from before its publish to its result ({single} commands):");
    table(&rows);
    println!("after the run: {}", measure::load());
}

/// All combinations; several workers have at least one command each.
fn setups(options: &Options) -> Vec<Setup> {
    let mut setups = Vec::new();
    for &replicas in options.list("replicas") {
        for &workers in options.list("workers") {
            for &in_flight in options.list("in-flight").iter().filter(|level| **level >= workers) {
                let commands = commands(in_flight) * options.one("percent") / 100 / replicas;
                setups.push(Setup { replicas, workers, in_flight, commands });
            }
        }
    }
    setups
}

async fn drain(path: Path, sample: &bare::Sample, setup: Setup) -> Drained {
    let Setup { replicas, workers, in_flight, commands } = setup;
    let queue = Queue::start(replicas).await;
    queue.fill(commands).await;
    let latencies = Arc::new(Latencies::new(commands));
    let stop = CancellationToken::new();
    let (mut all, mut connections) = (Vec::new(), Vec::new());
    for _ in 0..workers {
        let (worker, connection) = worker(path, &queue, sample, in_flight / workers, &latencies, &stop).await;
        all.push(worker);
        connections.push(connection);
    }
    let sent = || connections.iter().map(|one| one.out_messages.load(Ordering::Relaxed)).sum::<u64>();
    let before = sent();
    let (cpu, start) = (measure::cpu(std::process::id()), Instant::now());
    let running: Vec<_> = all.into_iter().map(tokio::spawn).collect();
    latencies.all.notified().await;
    let (took, cpu) = (start.elapsed(), measure::cpu(std::process::id()).saturating_sub(cpu));
    let messages = sent() - before;
    stop.cancel();
    running.iter().for_each(tokio::task::JoinHandle::abort);
    assert_eq!(queue.results().await, commands, "each command has one result");
    let mut taken = latencies.taken.lock().unwrap();
    Drained {
        per_second: commands as f64 / took.as_secs_f64(),
        p50: quantile(&mut taken, 0.5),
        p99: quantile(&mut taken, 0.99),
        cpu_us: cpu.as_secs_f64() * 1e6 / commands as f64,
        messages: messages as f64 / commands as f64,
    }
}

async fn one_by_one(path: Path, sample: &bare::Sample, replicas: usize, commands: usize) -> Vec<Duration> {
    let queue = Queue::start(replicas).await;
    let latencies = Arc::new(Latencies::new(usize::MAX));
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker(path, &queue, sample, 64, &latencies, &stop).await.0);
    let taken = queue.one_by_one(commands).await;
    stop.cancel();
    running.abort();
    taken
}

/// Works on the queue until `stop`, or until dropped; and what its connection counts.
async fn worker(
    path: Path,
    queue: &Queue,
    sample: &bare::Sample,
    slots: usize,
    latencies: &Arc<Latencies>,
    stop: &CancellationToken,
) -> (BoxFuture<'static, ()>, Arc<Statistics>) {
    match path {
        Path::Sailhand => {
            let bus = queue.connect().await;
            let sent = bus.context().client().statistics();
            (engine::worker(bus, slots, Arc::clone(latencies), stop.clone()).await.boxed(), sent)
        }
        Path::Bare => {
            let client = queue.connect_bare().await;
            let sent = client.statistics();
            (bare::worker(client, sample, slots, Arc::clone(latencies)).await.boxed(), sent)
        }
    }
}

/// Shares of bare: they depend less on what else the machine does than the figures themselves.
fn record(setup: Setup, ours: &Drained, bare: &Drained) {
    let name = setup.name();
    history::record(
        format!("bus_path {name}: rate of bare %"),
        Better::Higher,
        100.0 * ours.per_second / bare.per_second,
    );
    let own = 100.0 * (ours.cpu_us - bare.cpu_us) / bare.cpu_us;
    history::record(format!("bus_path {name}: own CPU of bare %"), Better::Lower, own);
}

fn middle(drains: &[Drained]) -> Drained {
    let of = |field: fn(&Drained) -> f64| median(drains.iter().map(field).collect());
    Drained {
        per_second: of(|d| d.per_second),
        p50: of(|d| d.p50),
        p99: of(|d| d.p99),
        cpu_us: of(|d| d.cpu_us),
        messages: of(|d| d.messages),
    }
}

fn head(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn row(setup: Setup, path: &str, drained: &Drained, more: [String; 2]) -> Vec<String> {
    let mut row = vec![
        setup.name(),
        path.to_owned(),
        format!("{:.0}", drained.per_second),
        format!("{:.2}", drained.p50),
        format!("{:.2}", drained.p99),
        format!("{:.0}", drained.cpu_us),
        format!("{:.2}", drained.messages),
    ];
    row.extend(more);
    row
}
