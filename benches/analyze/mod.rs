//! `sailhand analyze` beside `istioctl analyze`, and beside all of Istio's analyzers over the same files
//! (`tests/tools/kubernetes-clients`), in turns: whole processes, findings as JSON. Then the same of a live cluster.
//!
//! `just bench analyze files 1000 10000` measures files of these sizes, `-- live` the cluster only.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement that cannot be made has to fail; it prints, and other processes have their own time"
)]
#![allow(clippy::cast_precision_loss, reason = "figures are shown with three digits")]

mod live;

use crate::corpus;
use crate::measure;
use crate::support;

use std::path::{Path, PathBuf};
use std::process::Command;

use measure::history::{self, Better};
use measure::process::{self, Run};
use measure::{median, table};
use serde_json::Value;
use support::tools;
use tempfile::TempDir;

const SEED: u64 = 1;
/// Of a hundred objects.
const MISTAKES: u32 = 5;
/// Objects, the most seconds and the most MiB that are to be.
const SIZES: [(usize, f64, f64); 4] =
    [(20, 0.010, 20.0), (1_000, 0.040, f64::NAN), (10_000, 0.30, 80.0), (50_000, 1.5, 300.0)];
/// Rounds; one of a program that takes minutes.
const ROUNDS: usize = 5;
/// The most that costs of an object may differ between 1,000 and 50,000 of them.
const FLAT: f64 = 1.3;

/// One of the programs, with what it is given before the file.
struct Tool {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    /// Files of more objects take it minutes.
    most: usize,
}

pub fn main() {
    let asked: Vec<String> = measure::options::words().collect();
    let sizes: Vec<usize> = asked.iter().filter_map(|argument| argument.parse().ok()).collect();
    println!("\nanalyze: generated objects, {MISTAKES} of 100 with a mistake, seed {SEED}");
    let tools = tools();
    measure::machine(&[(&tools[0].program, &["--version"]), (&tools[1].program, &["version", "--remote=false"])]);
    println!("whole processes in turns, medians\n");
    if !asked.iter().any(|argument| argument == "live") {
        files(&tools, &sizes);
    }
    if !asked.iter().any(|argument| argument == "files") {
        live::measure(&tools[0].program, &tools[1].program);
    }
    println!("after the run: {}\n", measure::load());
}

fn tools() -> Vec<Tool> {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    vec![
        Tool {
            name: "sailhand",
            program: Path::new(env!("CARGO_BIN_EXE_sailhand")).to_owned(),
            arguments: words("analyze --fail-on never -o json"),
            most: usize::MAX,
        },
        Tool {
            name: "istioctl",
            program: tools::program("istioctl", "ISTIOCTL_BIN"),
            arguments: words("analyze --use-kube=false -A -o json"),
            most: usize::MAX,
        },
        Tool {
            name: "all analyzers",
            program: tools::program("istio-analyzers", "ISTIO_ANALYZERS_BIN"),
            arguments: Vec::new(),
            most: 10_000,
        },
    ]
}

fn files(tools: &[Tool], sizes: &[usize]) {
    let dir = TempDir::with_prefix("sailhand-bench-").unwrap();
    let mut rows = vec![header()];
    let mut costs = Vec::new();
    for (objects, seconds, mebibytes) in SIZES {
        if !sizes.is_empty() && !sizes.contains(&objects) {
            continue;
        }
        let file = dir.path().join(format!("{objects}.yaml"));
        std::fs::write(&file, corpus::yaml(&corpus::objects(objects, SEED, MISTAKES))).unwrap();
        let mut runs: Vec<Vec<Run>> = tools.iter().map(|_| Vec::new()).collect();
        for round in 0..ROUNDS {
            for (tool, runs) in tools.iter().zip(&mut runs) {
                if round == 0 || (tool.most >= objects && (objects <= 10_000 || round < 3)) {
                    let mut command = Command::new(&tool.program);
                    command.args(&tool.arguments).arg(&file);
                    runs.push(process::run(&command, &dir.path().join(tool.name)));
                }
            }
        }
        for (tool, runs) in tools.iter().zip(&runs) {
            let row = Summary::of(runs, &dir.path().join(tool.name));
            if tool.name == "sailhand" {
                history::record(format!("analyze {objects} objects: CPU s"), Better::Lower, row.cpu);
                history::record(format!("analyze {objects} objects: peak MiB"), Better::Lower, row.peak);
                costs.push((objects, row.took / objects as f64, row.cpu / objects as f64));
                rows.push(row.line(&format!("{objects} objects"), tool.name, (seconds, mebibytes)));
            } else {
                rows.push(row.line("", tool.name, (f64::NAN, f64::NAN)));
            }
        }
    }
    table(&rows);
    let cost = |objects: usize| costs.iter().find(|(size, ..)| *size == objects);
    if let (Some((_, wall, cpu)), Some((_, wall_of_many, cpu_of_many))) = (cost(1_000), cost(50_000)) {
        let (wall, cpu) = (wall_of_many / wall, cpu_of_many / cpu);
        println!("cost of an object, 50,000 ÷ 1,000: wall {wall:.2}, CPU {cpu:.2} (to be: at most {FLAT})\n");
    }
}

/// Medians of some runs, seconds and MiB, and how many findings the last has written.
struct Summary {
    took: f64,
    cpu: f64,
    peak: f64,
    findings: usize,
}

impl Summary {
    fn of(runs: &[Run], out: &Path) -> Self {
        let of = |field: fn(&Run) -> f64| median(runs.iter().map(field).collect());
        let told: Value = serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap();
        Self {
            took: of(|run| run.took.as_secs_f64()),
            cpu: of(|run| run.cpu.as_secs_f64()),
            peak: of(|run| run.peak),
            findings: told.as_array().map_or(0, Vec::len),
        }
    }

    fn line(&self, what: &str, who: &str, (seconds, mebibytes): (f64, f64)) -> Vec<String> {
        let limit = |limit: f64, unit: &str| if limit.is_nan() { String::new() } else { format!("{limit} {unit}") };
        vec![
            what.to_owned(),
            who.to_owned(),
            format!("{:.3}", self.took),
            limit(seconds, "s"),
            format!("{:.3}", self.cpu),
            format!("{:.0}", self.peak),
            limit(mebibytes, "MiB"),
            self.findings.to_string(),
        ]
    }
}

fn header() -> Vec<String> {
    ["", "", "wall s", "to be", "CPU s", "peak MiB", "to be", "findings"].map(str::to_owned).to_vec()
}
