//! A ping of a quiet target, alone and while others are flooded with commands that write.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::{Bench, Results, apply};
use crate::measure::{quantile, table};

/// Pings, one after the other.
const PINGS: usize = 300;
/// Between two pings.
const PAUSE: Duration = Duration::from_millis(20);

pub async fn measure(targets: usize, workers: usize, slots: usize, flooded: usize, backlog: usize) {
    let bench = Bench::start(targets).await;
    let _workers = bench.workers(workers, slots).await;
    let (busy, quiet) = bench.targets.split_at(flooded);
    let quiet = &quiet[0].name;
    let mut results = bench.results().await;
    let mut alone = pings(&bench, &mut results, quiet, |_| true).await;
    let commands = flooded * backlog;
    let start = Instant::now();
    let namespace = |number: usize| busy[number % flooded].namespace.as_str();
    bench.fill(busy, commands, |number| ("config.apply", apply(&format!("f{number}"), namespace(number)))).await;
    let mut left = commands;
    let flooded_targets: HashSet<&str> = busy.iter().map(|target| target.name.as_str()).collect();
    let mut beside = pings(&bench, &mut results, quiet, |ended| {
        left -= usize::from(flooded_targets.contains(ended));
        left > 0
    })
    .await;
    println!(
        "ping of a quiet target, from before its publish to its result; {flooded} targets have {commands} queued config.apply of one object, {left} are left after {:.1} s:",
        start.elapsed().as_secs_f64()
    );
    while left > 0 {
        left -= usize::from(flooded_targets.contains(results.next().await.target.as_str()));
    }
    let seconds = start.elapsed().as_secs_f64();
    let mut rows = vec![["", "pings", "p50 ms", "p99 ms", "worst ms"].map(str::to_owned).to_vec()];
    for (name, taken) in [("alone", &mut alone), ("beside", &mut beside)] {
        let of = |taken: &mut Vec<Duration>, share| format!("{:.1}", quantile(taken, share));
        rows.push(vec![name.to_owned(), taken.len().to_string(), of(taken, 0.5), of(taken, 0.99), of(taken, 1.0)]);
    }
    table(&rows);
    println!("config.apply of the flooded targets: {:.0} commands/s", commands as f64 / seconds);
}

/// Times of pings, one after the other, until there are [`PINGS`] or `goes_on` is false for the target of another result.
async fn pings(
    bench: &Bench,
    results: &mut Results,
    target: &str,
    mut goes_on: impl FnMut(&str) -> bool,
) -> Vec<Duration> {
    let mut taken = Vec::with_capacity(PINGS);
    let mut is_on = true;
    while is_on && taken.len() < PINGS {
        let start = Instant::now();
        bench.send(target, "ping", json!({})).await;
        loop {
            let ended = results.next().await;
            if ended.target == target {
                taken.push(ended.at - start);
                break;
            }
            is_on = goes_on(&ended.target);
        }
        tokio::time::sleep(PAUSE).await;
    }
    taken
}
