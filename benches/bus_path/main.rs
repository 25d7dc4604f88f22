//! `ping` through the engine, beside the same messages written bare on the NATS client. Both drain the same queue, on a
//! server of their own, in turns. The publisher is done before the clock starts, so it does not count.
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

#[path = "../measure/mod.rs"]
mod measure;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::Statistics;
use futures::FutureExt;
use futures::future::BoxFuture;
use measure::{median, quantile, table};
use queue::Queue;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Commands at once, and how many are drained.
const LEVELS: [(usize, usize); 4] = [(1, 1_000), (16, 6_000), (64, 16_000), (256, 16_000)];
const ROUNDS: usize = 3;
/// Commands sent one after the other, each after the result of the one before.
const SINGLE: usize = 300;

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
async fn main() {
    let server = support::tools::program("nats-server", "NATS_SERVER_BIN");
    println!("\nbus_path: ping, sailhand beside the same messages written bare on async-nats");
    measure::machine(&[(&server, &["--version"])]);
    println!(
        "sailhand {}, {ROUNDS} rounds in turns, medians; one nats-server (R1, file) for each drain\n",
        env!("CARGO_PKG_VERSION")
    );
    engine::log_as_a_worker();
    let sample = bare::sample().await;
    println!("bytes: {sample}\n");

    let mut rows =
        vec![head(&["in flight", "path", "commands/s", "p50 ms", "p99 ms", "CPU µs", "messages", "of bare", "own µs"])];
    for (slots, commands) in LEVELS {
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let order = if round % 2 == 0 { [Path::Bare, Path::Sailhand] } else { [Path::Sailhand, Path::Bare] };
            for path in order {
                let drained = drain(path, &sample, slots, commands).await;
                if path == Path::Sailhand { ours.push(drained) } else { bare.push(drained) }
            }
        }
        let (ours, bare) = (middle(&ours), middle(&bare));
        rows.push(row(slots, "bare", &bare, ["", ""].map(str::to_owned)));
        let ratio = format!("{:.0} %", 100.0 * ours.per_second / bare.per_second);
        rows.push(row(slots, "sailhand", &ours, [ratio, format!("{:.0}", ours.cpu_us - bare.cpu_us)]));
    }
    println!(
        "Draining a full queue. Latency: from receipt to confirmed ack. CPU: user and system time of this process,"
    );
    println!(
        "which is the worker alone, for one command; own: what sailhand takes more than bare. Messages: sent for one command."
    );
    table(&rows);

    let mut rows = vec![head(&["", "p50 ms", "p99 ms"])];
    for path in [Path::Bare, Path::Sailhand] {
        let mut taken = one_by_one(path, &sample).await;
        let name = if path == Path::Bare { "bare" } else { "sailhand" };
        rows.push(vec![
            name.to_owned(),
            format!("{:.2}", quantile(&mut taken, 0.5)),
            format!("{:.2}", quantile(&mut taken, 0.99)),
        ]);
    }
    println!("One command at a time, from before its publish to its result ({SINGLE} commands):");
    table(&rows);
    println!("after the run: {}", measure::load());
}

async fn drain(path: Path, sample: &bare::Sample, slots: usize, commands: usize) -> Drained {
    let queue = Queue::start().await;
    queue.fill(commands).await;
    let latencies = Arc::new(Latencies::new(commands));
    let stop = CancellationToken::new();
    let (worker, sent) = worker(path, &queue, sample, slots, &latencies, &stop).await;
    let before = sent.out_messages.load(Ordering::Relaxed);
    let (cpu, start) = (measure::cpu(std::process::id()), Instant::now());
    let running = tokio::spawn(worker);
    latencies.all.notified().await;
    let (took, cpu) = (start.elapsed(), measure::cpu(std::process::id()).saturating_sub(cpu));
    stop.cancel();
    running.abort();
    assert_eq!(queue.results().await, commands, "each command has one result");
    let mut taken = latencies.taken.lock().unwrap();
    Drained {
        per_second: commands as f64 / took.as_secs_f64(),
        p50: quantile(&mut taken, 0.5),
        p99: quantile(&mut taken, 0.99),
        cpu_us: cpu.as_secs_f64() * 1e6 / commands as f64,
        messages: (sent.out_messages.load(Ordering::Relaxed) - before) as f64 / commands as f64,
    }
}

async fn one_by_one(path: Path, sample: &bare::Sample) -> Vec<Duration> {
    let queue = Queue::start().await;
    let latencies = Arc::new(Latencies::new(usize::MAX));
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker(path, &queue, sample, 64, &latencies, &stop).await.0);
    let taken = queue.one_by_one(SINGLE).await;
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

fn row(slots: usize, path: &str, drained: &Drained, more: [String; 2]) -> Vec<String> {
    let mut row = vec![
        slots.to_string(),
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
