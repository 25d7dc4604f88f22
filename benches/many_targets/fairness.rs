//! A ping of a quiet target, alone and while others are flooded with commands that write.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::{Bench, apply};
use crate::measure::{quantile, table};

/// Pings, one after the other.
const PINGS: usize = 100;
/// Between two pings.
const PAUSE: Duration = Duration::from_millis(20);

pub async fn measure(targets: usize, workers: usize, slots: usize, flooded: usize, backlog: usize) {
    let bench = Bench::start(targets).await;
    let _workers = bench.workers(workers, slots).await;
    let (busy, quiet) = bench.targets.split_at(flooded);
    let quiet = &quiet[0].name;
    let mut alone = pings(&bench, quiet).await;
    let commands = flooded * backlog;
    let mut results = bench.results().await;
    let start = Instant::now();
    let namespace = |number: usize| busy[number % flooded].namespace.as_str();
    bench.fill(busy, commands, |number| ("config.apply", apply(&format!("f{number}"), namespace(number)))).await;
    let mut beside = pings(&bench, quiet).await;
    let left = commands - settled(&mut results, busy.iter().map(|target| target.name.as_str()).collect()).await;
    println!(
        "ping of a quiet target, from before its publish to its result; {flooded} targets have {commands} queued config.apply of one object, {left} are left after {:.1} s:",
        start.elapsed().as_secs_f64()
    );
    let mut rows = vec![["", "p50 ms", "p99 ms", "worst ms"].map(str::to_owned).to_vec()];
    for (name, taken) in [("alone", &mut alone), ("beside", &mut beside)] {
        let of = |taken: &mut Vec<Duration>, share| format!("{:.1}", quantile(taken, share));
        rows.push(vec![name.to_owned(), of(taken, 0.5), of(taken, 0.99), of(taken, 1.0)]);
    }
    table(&rows);
}

async fn pings(bench: &Bench, target: &str) -> Vec<Duration> {
    let mut results = bench.results().await;
    let mut taken = Vec::with_capacity(PINGS);
    for _ in 0..PINGS {
        let start = Instant::now();
        bench.send(target, "ping", json!({})).await;
        loop {
            let ended = results.next().await;
            if ended.target == target {
                taken.push(ended.at - start);
                break;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    taken
}

/// Results of the targets that are there by now.
async fn settled(results: &mut super::Results, targets: std::collections::HashSet<&str>) -> usize {
    let mut count = 0;
    while let Ok(ended) = tokio::time::timeout(Duration::from_millis(1), results.next()).await {
        count += usize::from(targets.contains(ended.target.as_str()));
    }
    count
}
