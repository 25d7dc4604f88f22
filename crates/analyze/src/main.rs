//! `sailhand-analyze`: a small program for the analysis of files, for CI and pre-commit hooks.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use sailhand_analyze::lsp::{self, ServerOptions};
use sailhand_analyze::{Analysis, Error, Exit, FileOptions, Input, output};

/// Analyzes Istio, Gateway API and Kubernetes configuration in files and reports problems.
#[derive(Debug, Parser)]
#[command(
    name = "sailhand-analyze",
    version,
    max_term_width = 100,
    after_help = "\
Exit codes: 0 no finding at or above --fail-on, 1 findings, 2 usage, 6 part of the input was not read.

Examples:
  sailhand-analyze ./manifests
  kubectl get vs,dr,svc,pods -A -o yaml | sailhand-analyze -
  sailhand-analyze -o sarif ./manifests >findings.sarif
  sailhand-analyze --diff ./manifests    # what --fix would correct
  sailhand-analyze --explain IST0101"
)]
struct Cli {
    #[command(flatten)]
    options: FileOptions,
    /// Serve an editor with the Language Server Protocol on standard input and output
    #[arg(long, conflicts_with = "paths")]
    lsp: bool,
    /// Accepted for editors that add it: standard input and output are the only transport
    #[arg(long, hide = true, requires = "lsp")]
    stdio: bool,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(exit) => exit.into(),
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            output::problem(&error);
            error.exit().into()
        }
    }
}

fn run(Cli { options, lsp, .. }: &Cli) -> Result<Exit, Error> {
    if *lsp {
        let options = ServerOptions {
            codes: options.codes.clone(),
            suppress: options.suppress.clone(),
            namespace: options.namespace.clone(),
            whole_cluster: options.whole_cluster,
            cluster_domain: options.cluster_domain.clone(),
            stdio: true,
        };
        return lsp::serve(&options, now).map(|()| Exit::Success);
    }
    if let Some(exit) = options.answer()? {
        return Ok(exit);
    }
    if options.paths.is_empty() {
        return Err(Error::argument("PATH", "name files or folders to analyze, or `-` for standard input"));
    }
    let analysis = Analysis::read(options)?;
    let rules = analysis.rules();
    analysis.report(&rules, Input { now: now(), is_live: false, is_whole: true, clusters: &[] })
}

/// Current time, Unix seconds.
#[allow(clippy::disallowed_types, reason = "clock.rs is in the root package; this program reads the time once")]
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
