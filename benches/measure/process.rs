//! What a process that ends by itself takes: its time, its CPU, and the most memory it held. A process of its own asks the
//! kernel about its one child, since the kernel only tells the largest of all children. The children of a process that
//! goes on are looked at while they run.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use super::memory_if_running;

/// The first argument of the process that asks.
const ASK: &str = "--measure-one";

/// How often children are looked at. `VmHWM` is the most so far, so only the last moment can be missed.
const EVERY: Duration = Duration::from_millis(5);

/// One run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Run {
    pub took: Duration,
    /// User and system, all threads.
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

/// Runs a program with its output into a file; it has to succeed. `main` begins with [`measured`].
pub fn run(command: &Command, out: &Path) -> Run {
    let mut asking = Command::new(std::env::current_exe().unwrap());
    asking.arg(ASK).arg(out).arg(command.get_program()).args(command.get_args());
    let output = asking.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    let figures = String::from_utf8(output.stdout).unwrap();
    let mut figures = figures.split_whitespace().map(|figure| figure.parse::<f64>().unwrap());
    let mut next = || figures.next().unwrap();
    Run { took: Duration::from_secs_f64(next()), cpu: Duration::from_secs_f64(next()), peak: next() }
}

/// Whether this process is the one that asks; it has done so then.
pub fn measured() -> bool {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|first| first != ASK) {
        return false;
    }
    let out = File::create(arguments.next().unwrap()).unwrap();
    let mut command = Command::new(arguments.next().unwrap());
    command.args(arguments).stdin(Stdio::null()).stdout(out);
    let start = Instant::now();
    let status = command.status().unwrap();
    let took = start.elapsed().as_secs_f64();
    assert!(status.success(), "ended with {status}");
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let cpu = (usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6;
    println!("{took} {cpu} {}", usage.max_rss() as f64 / 1024.0);
    true
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
                    peak = peak.max(memory_if_running(child, "VmHWM").unwrap_or(0.0));
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
