//! `just chaos`: seeded schedules of commands and faults on real servers and real worker processes, several lanes of
//! them side by side, until a number of seeds is done. Prints what it counted; a violation prints its seed, and how to
//! repeat it.
//!
//! Arguments: `[--seeds N] [--from S] [--seed S] [--lanes L] [--workers W]`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that prints what it counts, and fails with a message"
)]

mod chaos;
mod support;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chaos::counts::Counts;
use chaos::environment::ChaosEnv;
use chaos::schedule::Schedule;
use chaos::{play, verify};
use sailhand::failpoint::Step;
use tokio::time::Instant;

/// What the command line says.
#[derive(Clone)]
struct Options {
    first: u64,
    seeds: u64,
    lanes: usize,
    workers: usize,
}

fn options() -> Options {
    let mut options = Options { first: 1, seeds: 100, lanes: 6, workers: 3 };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || -> u64 { words.next().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{word} N")) };
        match word.as_str() {
            "--seeds" => options.seeds = number(),
            "--seed" => (options.first, options.seeds, options.lanes) = (number(), 1, 1),
            "--from" => options.first = number(),
            "--lanes" => options.lanes = usize::try_from(number()).unwrap(),
            "--workers" => options.workers = usize::try_from(number()).unwrap(),
            _ => panic!("unknown: {word}; [--seeds N] [--seed S] [--from S] [--lanes L] [--workers W]"),
        }
    }
    options
}

#[tokio::main]
async fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let options = options();
    let begun = Instant::now();
    let next = Arc::new(AtomicU64::new(options.first));
    let lanes = (0..options.lanes).map(|number| test_env(number, options.clone(), Arc::clone(&next)));
    let mut counts = Counts::default();
    let mut visited = BTreeSet::new();
    for (of_lane, seen) in futures::future::join_all(lanes).await {
        counts.add(of_lane);
        visited.extend(seen);
    }
    let missed: Vec<_> = Step::ALL.iter().map(|step| step.name()).filter(|step| !visited.contains(*step)).collect();
    if !missed.is_empty() && options.seeds >= Step::ALL.len() as u64 {
        counts.violations.push(format!("steps that no worker reached: {missed:?}"));
    }
    // Some ninety in a thousand schedules. None means that the line of the log is not what it was.
    if counts.lost_leases == 0 && options.seeds >= 500 {
        counts.violations.push("no lease was lost, or none is counted any more".to_owned());
    }
    println!("\n{counts}");
    println!("{:>8.1}  seconds, {} lanes of {} workers", begun.elapsed().as_secs_f64(), options.lanes, options.workers);
    for violation in &counts.violations {
        println!("VIOLATION {violation}");
    }
    ExitCode::from(u8::from(!counts.violations.is_empty()))
}

/// Plays seeds until there are no more.
async fn test_env(number: usize, options: Options, next: Arc<AtomicU64>) -> (Counts, BTreeSet<String>) {
    let kubeconfig = support::control_plane::kubeconfig();
    let mut test_env = ChaosEnv::new(options.workers, kubeconfig).await;
    let mut counts = Counts::default();
    let mut told = 0;
    loop {
        let seed = next.fetch_add(1, Ordering::SeqCst);
        if seed >= options.first + options.seeds {
            break;
        }
        let schedule = Schedule::of(seed);
        let begun = Instant::now();
        let sent = play::play(&mut test_env, &schedule, &mut counts).await;
        let played = begun.elapsed();
        verify::verify(&mut test_env, &schedule, &sent, &mut counts).await;
        println!(
            "lane {number} seed {seed}: {} commands, played {played:.1?}, ended after {:.1?}",
            sent.len(),
            begun.elapsed()
        );
        if counts.violations.len() > told {
            for violation in &counts.violations[told..] {
                println!("VIOLATION {violation}");
            }
            told = counts.violations.len();
            println!("{schedule}  repeat it: just chaos --seed {seed}");
            let logs = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{seed}"));
            test_env.keep_logs(&logs);
            println!("  logs: {}", logs.display());
        }
    }
    verify::verify_environment(&mut test_env, &mut counts).await;
    let visited = test_env.visited();
    (counts, visited)
}
