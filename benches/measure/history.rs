//! What earlier runs on this machine measured: `.cache/bench/history.jsonl`, one figure in each line. A figure of another
//! machine is never compared.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::{load, median, table};

/// Fewer earlier figures say nothing about noise.
const ENOUGH: usize = 3;
/// Median absolute deviations that count as noise: about three standard deviations of a normal distribution.
const NOISE: f64 = 3.0 * 1.4826;
/// Smaller differences are never reported, as a share of the median.
const LEAST: f64 = 0.03;

/// Which way a figure gets better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    Lower,
    Higher,
}

/// One figure of one run.
#[derive(Debug, Serialize, Deserialize)]
struct Figure {
    machine: String,
    commit: String,
    unix_seconds: u64,
    load: String,
    /// Name of the measurement and of the figure in it, with its unit.
    name: String,
    /// Figures of short runs are compared with those of short runs.
    quick: bool,
    better: Better,
    value: f64,
}

/// Adds a figure to the file. `name` has the unit.
pub fn record(name: String, better: Better, value: f64) {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let figure = Figure {
        machine: machine(),
        commit: commit(),
        unix_seconds: since.as_secs(),
        load: load(),
        name,
        quick: super::options::is_quick(),
        better,
        value,
    };
    let file = file();
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
    writeln!(file, "{}", serde_json::to_string(&figure).unwrap()).unwrap();
}

/// Prints the last figure of each name beside the earlier ones of this machine.
pub fn show() {
    let Ok(text) = fs::read_to_string(file()) else {
        println!("no history yet: {} does not exist", file().display());
        return;
    };
    let mut figures: BTreeMap<(String, bool), Vec<Figure>> = BTreeMap::new();
    let (machine, mut others) = (machine(), 0);
    for (number, line) in text.lines().enumerate() {
        let figure: Figure = match serde_json::from_str(line) {
            Ok(figure) => figure,
            // The end of a run that was killed while it wrote.
            Err(error) => {
                println!("{}, line {}, is left out: {error}", file().display(), number + 1);
                continue;
            }
        };
        if figure.machine == machine {
            figures.entry((figure.name.clone(), figure.quick)).or_default().push(figure);
        } else {
            others += 1;
        }
    }
    println!("{machine}; {others} figures of other machines are left out\n");
    let mut rows = vec![["figure", "runs", "median", "noise", "last", "change", ""].map(str::to_owned).to_vec()];
    for ((name, quick), all) in &figures {
        let (last, earlier) = all.split_last().unwrap();
        let earlier: Vec<f64> = earlier.iter().map(|figure| figure.value).collect();
        let name = if *quick { format!("{name} (quick)") } else { name.clone() };
        rows.push(row(name, &earlier, last));
    }
    table(&rows);
}

fn row(name: String, earlier: &[f64], last: &Figure) -> Vec<String> {
    let mut row = vec![name, (earlier.len() + 1).to_string()];
    if earlier.len() < ENOUGH {
        row.extend([String::new(), String::new(), format!("{:.3}", last.value), String::new()]);
        row.push("too few runs to compare".to_owned());
        return row;
    }
    let middle = median(earlier.to_vec());
    let deviation = median(earlier.iter().map(|value| (value - middle).abs()).collect());
    let noise = (NOISE * deviation).max(LEAST * middle.abs());
    let worse = if last.better == Better::Lower { last.value - middle } else { middle - last.value };
    row.extend([format!("{middle:.3}"), format!("{noise:.3}"), format!("{:.3}", last.value)]);
    row.push(format!("{:+.0} %", 100.0 * (last.value - middle) / middle));
    row.push(if worse > noise { format!("WORSE at {}", last.commit) } else { String::new() });
    row
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/bench/history.jsonl")
}

/// Processors and memory. Two machines of the same kind count as one.
fn machine() -> String {
    let memory = fs::read_to_string("/proc/meminfo").unwrap();
    let kibibytes = memory.split_whitespace().nth(1).and_then(|text| text.parse::<f64>().ok()).unwrap();
    format!("{}, {:.0} GiB", super::processors(), kibibytes / f64::from(1 << 20))
}

fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    output.map_or_else(|_| "?".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
