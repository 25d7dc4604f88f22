//! How soon a worker is ready after its start, and what it holds in memory while it waits for commands.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot be made has to fail; it prints"
)]

use crate::measure;
use crate::support;

use std::path::Path;
use std::time::Duration;

use measure::history::{self, Better};
use measure::worker::Worker;
use measure::{median, memory, quantile};
use sailhand::bus::nats;
use sailhand::bus::topology::Topology;
use sailhand::bus::{Subjects, nats::NatsBus};
use sailhand::config::Config;
use support::nats::NatsServer;

const STARTS: usize = 20;
/// Workers whose memory is read, and when: readiness and every pull have been through once by then.
const IDLE: (usize, Duration) = (3, Duration::from_secs(5));

#[tokio::main]
pub async fn main() {
    println!("\nstart: a worker on a local nats-server whose streams are there");
    let binary = Path::new(env!("CARGO_BIN_EXE_sailhand"));
    measure::machine(&[(binary, &["--version"])]);
    let server = NatsServer::start().await;
    let mut config = Config::default();
    config.nats.url = vec![server.url()];
    let connection = nats::connect(&config.nats, "bench", false).await.unwrap();
    let bus = NatsBus::new(connection, Subjects::of(&config.bus));
    nats::topology::apply(&bus, &Topology::new(&config.bus)).await.unwrap();

    let mut taken = Vec::new();
    for _ in 0..STARTS {
        taken.push(Worker::start(&server.url(), None).await.ready_after);
    }
    let (mut resident, mut most) = (Vec::new(), Vec::new());
    for _ in 0..IDLE.0 {
        let worker = Worker::start(&server.url(), None).await;
        tokio::time::sleep(IDLE.1).await;
        resident.push(memory(worker.pid(), "VmRSS"));
        most.push(memory(worker.pid(), "VmHWM"));
    }
    let (p50, worst) = (quantile(&mut taken, 0.5), quantile(&mut taken, 1.0));
    history::record("start: median to ready ms".to_owned(), Better::Lower, p50);
    println!("start to ready: median {p50:.0} ms, worst of {STARTS} {worst:.0} ms (to be: at most 300)");
    let (resident, most) = (median(resident), median(most));
    history::record("start: idle resident MiB".to_owned(), Better::Lower, resident);
    println!("resident while idle: {resident:.1} MiB, at most ever {most:.1} MiB (to be: at most 30 MB = 28.6 MiB)");
    println!("after the run: {}\n", measure::load());
}
