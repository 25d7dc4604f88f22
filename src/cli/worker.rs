//! `sailhand worker`: executes queued commands until SIGTERM, SIGHUP or Ctrl-C.

use clap::Args;
use serde_json::Value;
#[cfg(unix)]
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::output::{self, QUIET, styled};
use super::{Error, Exit, Global};
use crate::config::{Config, Loaded, LogFormat, Override};
use crate::task::Registry;
use crate::telemetry;
use crate::worker::serve;

/// The NATS client's own log lines repeat ours.
const LOGGED: &str = "info,async_nats=warn,kube_client=off";

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Format of log lines [default: text on a terminal, JSON otherwise]
    #[arg(long)]
    log_format: Option<LogFormat>,
    /// Number of commands executed at once
    #[arg(long)]
    slots: Option<u32>,
    /// Print the effective configuration with the origin of each value, and exit
    #[arg(long)]
    check: bool,
}

pub(super) async fn run(global: &Global, options: &Options) -> Result<Exit, Error> {
    let format = options.log_format.map(LogFormat::as_str);
    let loaded = global.load([
        Override::new("telemetry.log_format", "--log-format", format),
        Override::new("worker.slots", "--slots", options.slots),
    ])?;
    if options.check {
        print(&loaded)?;
        return Ok(Exit::Success);
    }
    serve(loaded.config).await
}

/// Runs a worker until SIGTERM, SIGHUP or Ctrl-C, and until its commands are settled.
pub(super) async fn serve(config: Config) -> Result<Exit, Error> {
    let telemetry = telemetry::start(&config.telemetry, LOGGED)?;
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone()));
    let served = serve::serve(&config, Registry::configured(&config.charts), stop).await;
    // Sending blocks, for some seconds if the collector does not answer.
    let flushed = tokio::task::spawn_blocking(move || telemetry.flush()).await;
    if let Err(error) = flushed {
        output::note(format_args!("The last traces were not sent: {error}"));
    }
    served?;
    Ok(Exit::Success)
}

pub(super) async fn stop_on_signal(stop: CancellationToken) {
    #[cfg(unix)]
    let (terminated, hung_up) = (sent(SignalKind::terminate()), sent(SignalKind::hangup()));
    #[cfg(not(unix))]
    let (terminated, hung_up) = (std::future::pending::<()>(), std::future::pending::<()>());
    tokio::select! {
        () = terminated => {}
        // The terminal was closed.
        () = hung_up => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    tracing::info!("stopping");
    stop.cancel();
}

/// Waits for the signal.
#[cfg(unix)]
async fn sent(kind: SignalKind) {
    match signal(kind) {
        Ok(mut signal) => drop(signal.recv().await),
        Err(_) => std::future::pending().await,
    }
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
