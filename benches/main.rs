//! All measurements in one program, so that the tree is linked once: `just bench NAME [OPTIONS]`, or `just bench` for
//! all of them. Each prints the machine, its load before and after, and what it compares with.
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
mod measure;
mod reanalyze;
mod scale;
mod start;
#[path = "../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;

/// Name and program of each measurement.
const ALL: [(&str, fn()); 8] = [
    ("bus_path", bus_path::main),
    ("apply", apply::main),
    ("analyze", analyze::main),
    ("reanalyze", reanalyze::main),
    ("install", install::main),
    ("scale", scale::main),
    ("backlog", backlog::main),
    ("start", start::main),
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
    if let Some((_, measure)) = ALL.iter().find(|(name, _)| *name == asked) {
        measure();
        return ExitCode::SUCCESS;
    }
    eprintln!("there is no measurement {asked:?}; there are {}", ALL.map(|(name, _)| name).join(", "));
    ExitCode::from(2)
}
