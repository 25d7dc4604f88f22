//! All measurements in one program, so that the tree is linked once: `just bench NAME [OPTIONS]`, `just bench` for all of
//! them, or `just bench --quick` for short runs of most. Each prints the machine, its load before and after, and what it
//! compares with. `just bench history` shows the figures of earlier runs on this machine.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a program that prints, and reads its command line"
)]

mod analyze;
mod apply;
mod backlog;
mod bus_path;
#[path = "../tests/support/corpus.rs"]
mod corpus;
mod install;
mod many_targets;
mod measure;
mod reanalyze;
mod scale;
mod start;
#[path = "../tests/support/mod.rs"]
mod support;

use std::process::{Command, ExitCode};

/// That of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Name and program of each measurement.
const ALL: [(&str, fn()); 9] = [
    ("bus_path", bus_path::main),
    ("apply", apply::main),
    ("analyze", analyze::main),
    ("reanalyze", reanalyze::main),
    ("install", install::main),
    ("scale", scale::main),
    ("backlog", backlog::main),
    ("many_targets", many_targets::main),
    ("start", start::main),
];

/// The measurements of `--quick` and their options: together below five minutes on two cores.
const QUICK: [(&str, &str); 6] = [
    ("bus_path", "--replicas 1 --workers 1 --in-flight 1,64 --rounds 2 --single 100 --percent 50"),
    ("analyze", "files 1000"),
    ("reanalyze", "1000"),
    ("apply", ""),
    ("backlog", "--commands 10000 --slow 50 --quick 5"),
    ("start", ""),
];

fn main() -> ExitCode {
    if measure::process::measured() {
        return ExitCode::SUCCESS;
    }
    let asked = std::env::args().skip(1).find(|word| word != "--bench");
    let Some(asked) = asked else {
        for (_, measure) in ALL {
            measure();
        }
        return ExitCode::SUCCESS;
    };
    match asked.as_str() {
        "--quick" => return quick(),
        "history" => {
            measure::history::show();
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    if let Some((_, measure)) = ALL.iter().find(|(name, _)| *name == asked) {
        measure();
        return ExitCode::SUCCESS;
    }
    eprintln!(
        "there is no measurement {asked:?}; there are --quick, history, {}",
        ALL.map(|(name, _)| name).join(", ")
    );
    ExitCode::from(2)
}

/// Each in a process of its own, with its own options and nothing that another one left in memory.
fn quick() -> ExitCode {
    let program = std::env::current_exe().unwrap();
    for (name, options) in QUICK {
        let mut command = Command::new(&program);
        command.arg(name).args(options.split_whitespace()).env(measure::options::QUICK, "1");
        if !command.status().unwrap().success() {
            return ExitCode::FAILURE;
        }
    }
    measure::history::show();
    ExitCode::SUCCESS
}
