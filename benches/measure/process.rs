//! What a process that ends by itself takes: its time, its CPU, and the most memory it held, which is asked for while it
//! runs because nobody tells afterwards.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::cpu_of_children;

/// How often it is asked. `VmHWM` is the most so far, so only the last moment can be missed.
const EVERY: Duration = Duration::from_millis(5);

/// One run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Run {
    pub took: Duration,
    pub cpu: Duration,
    /// MiB.
    pub peak: f64,
}

impl Run {
    /// One after the other.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        Self { took: self.took + next.took, cpu: self.cpu + next.cpu, peak: self.peak.max(next.peak) }
    }
}

/// Runs a program that has to succeed.
pub fn run(mut command: Command) -> Run {
    let before = cpu_of_children();
    let start = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let mut peak = 0_f64;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        peak = peak.max(held(child.id()).unwrap_or(0.0));
        std::thread::sleep(EVERY);
    };
    let took = start.elapsed();
    assert!(status.success(), "{command:?} ended with {status}");
    Run { took, cpu: cpu_of_children().saturating_sub(before), peak }
}

/// The most that a process has held so far, MiB; a process that has ended has no memory.
fn held(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}

/// Looks at the children of a process until it is asked.
pub struct Children {
    over: Arc<AtomicBool>,
    looking: std::thread::JoinHandle<f64>,
}

impl Children {
    pub fn of(pid: u32) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&over);
        let looking = std::thread::spawn(move || {
            let mut peak = 0_f64;
            while !end.load(Ordering::Relaxed) {
                for child in children(pid) {
                    peak = peak.max(held(child).unwrap_or(0.0));
                }
                std::thread::sleep(EVERY);
            }
            peak
        });
        Self { over, looking }
    }

    /// The most that one of them held, MiB.
    pub fn peak(self) -> f64 {
        self.over.store(true, Ordering::Relaxed);
        self.looking.join().unwrap()
    }
}

fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}
