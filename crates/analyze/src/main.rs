//! `sailhand-analyze`: the analysis of files as a small program, for CI and pre-commit hooks.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use sailhand_analyze::{Analysis, Error, Exit, FileOptions, Input, output};

/// Finds mistakes in Istio, Gateway API and Kubernetes configuration in files.
#[derive(Debug, Parser)]
#[command(
    name = "sailhand-analyze",
    version,
    max_term_width = 100,
    after_help = "\
Exit codes: 0 nothing at or above --fail-on, 1 something, 2 usage, 6 some of the input was not read.

Examples:
  sailhand-analyze ./manifests
  kubectl get vs,dr,svc,pods -A -o yaml | sailhand-analyze -
  sailhand-analyze -o sarif ./manifests >findings.sarif
  sailhand-analyze --explain IST0101"
)]
struct Cli {
    #[command(flatten)]
    options: FileOptions,
}

fn main() -> ExitCode {
    match run(&Cli::parse().options) {
        Ok(exit) => exit.into(),
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            output::problem(&error);
            error.exit().into()
        }
    }
}

fn run(options: &FileOptions) -> Result<Exit, Error> {
    if let Some(exit) = options.answer()? {
        return Ok(exit);
    }
    if options.paths.is_empty() {
        return Err(Error::argument("PATH", "name files or folders to analyze, or `-` for standard input"));
    }
    let analysis = Analysis::read(options)?;
    let rules = analysis.rules();
    analysis.report(&rules, Input { now: now(), is_live: false, is_whole: true })
}

/// Seconds since 1970.
#[allow(clippy::disallowed_types, reason = "the wall clock of the whole program is sailhand's; this has only this one")]
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
