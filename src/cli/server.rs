//! Parts that long-running subcommands share: the format of log lines, signals, and the last traces.

use clap::Args;
#[cfg(unix)]
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Error, output};
use crate::config::{self, LogFormat, Override};
use crate::telemetry;

/// Options for log lines.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Logging {
    /// Format of log lines [default: text on a terminal, JSON otherwise]
    #[arg(long)]
    log_format: Option<LogFormat>,
}

impl Logging {
    /// The option as a value of the configuration.
    pub(super) fn as_override(self) -> Option<Override> {
        Override::new("telemetry.log_format", "--log-format", self.log_format.map(LogFormat::as_str))
    }
}

/// Runs a server with logs, traces and a token that a signal cancels. The last traces are sent at its end, whatever ended it.
///
/// # Errors
/// Logs or traces that cannot be set up, and the error of the server.
pub(super) async fn serve<F: Future<Output = Result<(), Error>>>(
    telemetry: &config::Telemetry,
    logged: &str,
    run: impl FnOnce(CancellationToken) -> F,
) -> Result<(), Error> {
    let telemetry = telemetry::start(telemetry, logged)?;
    let served = run(stop_on_signal()).await;
    // This blocks, for some seconds if the collector does not answer.
    if let Err(error) = tokio::task::spawn_blocking(move || telemetry.flush()).await {
        output::note(format_args!("The last traces were not sent: {error}"));
    }
    served
}

/// A token that SIGTERM, SIGHUP and Ctrl-C cancel.
fn stop_on_signal() -> CancellationToken {
    let stop = CancellationToken::new();
    tokio::spawn(cancel_on_signal(stop.clone()));
    stop
}

async fn cancel_on_signal(stop: CancellationToken) {
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
