//! One run of a program: its time, and the most memory it had. A process of its own asks the kernel about its one child,
//! since the kernel only tells the largest of all children.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde_json::Value;
use tokio::time::Instant;

/// The first argument of the process that asks.
const ASK: &str = "--measure-one";

/// What one run took.
pub struct Run {
    /// Seconds.
    pub wall: f64,
    /// Seconds, user and system, all threads.
    pub cpu: f64,
    /// MiB.
    pub peak: f64,
    /// How many were told.
    pub findings: usize,
}

/// Runs a program, its output into a file. It has to succeed and to write a list in JSON.
pub fn run(program: &Path, arguments: &[String], environment: &[(&str, &Path)], out: &Path) -> Run {
    let this = std::env::current_exe().unwrap();
    let mut command = Command::new(this);
    command.arg(ASK).arg(out).arg(program).args(arguments).envs(environment.iter().copied());
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{} {} failed", program.display(), arguments.join(" "));
    let figures: Vec<f64> =
        String::from_utf8(output.stdout).unwrap().split_whitespace().map(|figure| figure.parse().unwrap()).collect();
    let told: Value = serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap();
    let [wall, cpu, peak] = figures[..] else { unreachable!("three figures") };
    Run { wall, cpu, peak, findings: told.as_array().map_or(0, Vec::len) }
}

/// Whether this process is the one that asks; it has done so then.
pub fn measured() -> bool {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|first| first != ASK) {
        return false;
    }
    let out = File::create(arguments.next().unwrap()).unwrap();
    let mut command = Command::new(arguments.next().unwrap());
    command.args(arguments).stdin(Stdio::null()).stdout(out).stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status().unwrap();
    let wall = start.elapsed().as_secs_f64();
    assert!(status.success(), "ended with {status}");
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let cpu = (usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6;
    println!("{wall} {cpu} {}", usage.max_rss() as f64 / 1024.0);
    true
}
