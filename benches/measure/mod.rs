//! What a process used, and plain tables. Knows nothing of what is measured. Linux only: it reads `/proc`.
#![allow(dead_code, reason = "some of this is for one measurement only")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a measurement that cannot be made has to fail with a message; it prints, and other processes have their own time"
)]
#![allow(clippy::cast_precision_loss, reason = "figures are shown with three digits")]

pub mod history;
pub mod options;
pub mod process;
pub mod worker;

use std::fs;
use std::process::Command;
use std::time::Duration;

/// `/proc` counts CPU time in ticks of 10 ms on every Linux (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// CPU time of a process, user and system, all its threads.
pub fn cpu(pid: u32) -> Duration {
    ticks(pid, 11)
}

/// CPU time of this process's children that have ended and were waited for.
pub fn cpu_of_children() -> Duration {
    cpu_of_children_of(std::process::id())
}

/// CPU time of a process's children that have ended and were waited for.
pub fn cpu_of_children_of(pid: u32) -> Duration {
    ticks(pid, 13)
}

/// The sum of two neighbours among the fields that follow the program's name in `stat` (proc(5)).
fn ticks(pid: u32, first: usize) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    TICK * fields[first..first + 2].iter().map(|ticks| ticks.parse::<u32>().unwrap()).sum()
}

/// A size of a process in MiB: `VmRSS` is what it holds now, `VmHWM` the most it ever held.
pub fn memory(pid: u32, field: &str) -> f64 {
    memory_if_running(pid, field).unwrap()
}

/// The same; a process that has ended has no memory.
fn memory_if_running(pid: u32, field: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}

/// The middle one; the mean of the two in the middle of an even number.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

/// Milliseconds that `share` (0 to 1) of the values do not exceed.
pub fn quantile(values: &mut [Duration], share: f64) -> f64 {
    values.sort_unstable();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index into the slice")]
    let index = ((values.len() - 1) as f64 * share).round() as usize;
    values[index].as_secs_f64() * 1e3
}

/// What the figures depend on: the machine, how busy it is, and the versions of other people's programs.
pub fn machine(programs: &[(&std::path::Path, &[&str])]) {
    println!("{}; {}", processors(), load());
    for (program, arguments) in programs {
        let output = Command::new(program).args(*arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let name = program.file_name().unwrap().to_string_lossy();
        println!("{name}: {}", text.lines().next().unwrap_or("?").trim());
    }
}

/// Number and model of the processors.
fn processors() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("?", |(_, m)| m);
    format!("{} × {model}", std::thread::available_parallelism().unwrap())
}

/// How busy the machine is: figures taken beside other work are only good as ratios.
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap();
    format!("load average {}", text.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
}

/// Columns as wide as their widest cell, numbers to the right.
pub fn table(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate();
        let line: Vec<String> = cells
            .map(
                |(column, (cell, &width))| {
                    if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                },
            )
            .collect();
        println!("  {}", line.join("  "));
    }
    println!();
}
