//! `sailhand worker`: executes queued commands until SIGTERM, SIGHUP or Ctrl-C.

use clap::Args;
use serde_json::Value;

use super::output::{self, QUIET, styled};
use super::server::{self, Logging};
use super::{Error, Exit, Global};
use crate::config::{Config, Loaded, Override};
use crate::task::Registry;
use crate::worker::serve;

/// The NATS client's own log lines repeat ours.
const LOGGED: &str = "info,async_nats=warn,kube_client=off";

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    logging: Logging,
    /// Number of commands executed at once
    #[arg(long, value_parser = super::number::<u32>)]
    slots: Option<u32>,
    /// Print the effective configuration with the origin of each value, and exit
    #[arg(long)]
    check: bool,
}

pub(super) async fn run(global: &Global, options: &Options) -> Result<Exit, Error> {
    let loaded =
        global.load([options.logging.as_override(), Override::new("worker.slots", "--slots", options.slots)])?;
    if options.check {
        print(&loaded)?;
        return Ok(Exit::Success);
    }
    serve(loaded.config).await
}

/// Runs a worker until SIGTERM, SIGHUP or Ctrl-C, and until its commands are settled.
pub(super) async fn serve(config: Config) -> Result<Exit, Error> {
    let registry = Registry::configured(&config.charts);
    server::serve(&config.telemetry, LOGGED, async |stop| Ok(serve::serve(&config, registry, stop).await?)).await?;
    Ok(Exit::Success)
}

/// Prints TOML that can be used as a file, each value with its origin.
fn print(loaded: &Loaded) -> Result<(), Error> {
    let values = loaded.values().map_err(|source| Error::local("write JSON", source.into()))?;
    for (key, value, origin) in values {
        match value {
            Value::Null => output::line(styled(QUIET, format_args!("# {key} is not set")))?,
            value => output::line(format_args!("{key} = {value} {}", styled(QUIET, format_args!("# {origin}"))))?,
        }
    }
    Ok(())
}
