//! What one worker holds and opens: with targets that got no command, that got one, and that are watched.

use std::fs;
use std::time::Duration;

use serde_json::json;

use super::{Bench, apply};
use crate::measure::worker::{Target, Worker};
use crate::measure::{cpu, memory, table};

/// After which a worker has published the cards of its targets, and has been through several pulls.
const IDLE: Duration = Duration::from_secs(10);
/// Time in which the CPU time of a worker without commands is measured; three times that of a card's renewal.
const OBSERVED: Duration = Duration::from_secs(90);

pub async fn measure(targets: usize, watched: usize) {
    println!("One worker. In use: the target had one config.apply of one object. Watched: config.watch-analyze.");
    let mut rows = vec![
        ["", "ready ms", "resident MiB", "KiB per target", "files", "sockets to the API server", "CPU ms/min"]
            .map(str::to_owned)
            .to_vec(),
    ];
    let one = Bench::start(1).await;
    let bench = Bench::start(targets).await;
    let mut base = 0.0;
    for (name, bench) in [("1 idle target", &one), ("all targets idle", &bench)] {
        let worker = Worker::start_with(&bench.server.url(), &bench.targets, 64).await;
        tokio::time::sleep(IDLE).await;
        let used = cpu(worker.pid());
        tokio::time::sleep(OBSERVED).await;
        let each_minute = (cpu(worker.pid()).saturating_sub(used)).as_secs_f64() * 1e3 * 60.0 / OBSERVED.as_secs_f64();
        let row = Row::of(&worker);
        rows.push(row.cells(name, &worker, base, bench.targets.len(), Some(each_minute)));
        base = if base == 0.0 { row.resident } else { base };
        if bench.targets.len() > 1 {
            let idle = row.resident;
            let mut results = bench.results().await;
            bench.fill(&bench.targets, targets, |number| ("config.apply", apply_in(&bench.targets[number]))).await;
            results.succeeded(targets).await;
            tokio::time::sleep(IDLE).await;
            let row = Row::of(&worker);
            rows.push(row.cells("all targets in use", &worker, idle, targets, None));
        }
    }
    watch(&bench, watched, &mut rows).await;
    table(&rows);
}

/// Watches of a target hold a quarter of the slots, so this worker has four times as many slots.
async fn watch(bench: &Bench, watched: usize, rows: &mut Vec<Vec<String>>) {
    let targets = &bench.targets[..watched];
    let worker = Worker::start_with(&bench.server.url(), targets, watched * 4).await;
    tokio::time::sleep(IDLE).await;
    let before = Row::of(&worker).resident;
    bench.fill(targets, watched, |_| ("config.watch-analyze", json!({ "duration": "1h" }))).await;
    // Every watch has listed its kinds when nothing is opened any more.
    let mut open = 0;
    loop {
        tokio::time::sleep(IDLE).await;
        let row = Row::of(&worker);
        if row.files == open {
            break;
        }
        open = row.files;
    }
    let used = cpu(worker.pid());
    tokio::time::sleep(OBSERVED).await;
    let each_minute = (cpu(worker.pid()).saturating_sub(used)).as_secs_f64() * 1e3 * 60.0 / OBSERVED.as_secs_f64();
    let row = Row::of(&worker);
    rows.push(row.cells(&format!("{watched} targets watched"), &worker, before, watched, Some(each_minute)));
}

fn apply_in(target: &Target) -> serde_json::Value {
    apply("idle", &target.namespace)
}

/// What a worker holds now.
struct Row {
    resident: f64,
    files: usize,
    sockets: usize,
}

impl Row {
    fn of(worker: &Worker) -> Self {
        let folder = format!("/proc/{}/fd", worker.pid());
        let links = fs::read_dir(folder).unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let links: Vec<_> = links.map(|link| link.display().to_string()).collect();
        let sockets = links.iter().filter(|link| link.starts_with("socket:")).count();
        // One of the rest is the connection to NATS, one listens for health.
        Self { resident: memory(worker.pid(), "VmRSS"), files: links.len(), sockets: sockets.saturating_sub(2) }
    }

    fn cells(&self, name: &str, worker: &Worker, base: f64, targets: usize, each_minute: Option<f64>) -> Vec<String> {
        let each = if base == 0.0 {
            String::new()
        } else {
            format!("{:.1}", (self.resident - base) * 1024.0 / targets as f64)
        };
        vec![
            name.to_owned(),
            format!("{:.0}", worker.ready_after.as_secs_f64() * 1e3),
            format!("{:.1}", self.resident),
            each,
            self.files.to_string(),
            self.sockets.to_string(),
            each_minute.map_or_else(String::new, |ms| format!("{ms:.0}")),
        ]
    }
}
