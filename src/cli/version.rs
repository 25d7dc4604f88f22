//! `sailhand version`: the version of this program.

use clap::Args;
use serde_json::json;

use super::output::{self, Format};
use super::{Error, Exit};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Output format
    #[arg(short, long, default_value = "text")]
    output: Format,
}

pub(super) fn run(options: &Options) -> Result<Exit, Error> {
    let version = env!("CARGO_PKG_VERSION");
    if !options.output.record(&json!({ "version": version }), version)? {
        output::line(format_args!("sailhand {version}"))?;
    }
    Ok(Exit::Success)
}
