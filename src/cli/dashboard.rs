//! `sailhand dashboard`: serves web pages about runs, targets, findings and dead letters until it is stopped.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::output;
use super::worker::stop_on_signal;
use super::{Error, Exit, Global, catalog};
use crate::config::{LogFormat, Override};
use crate::{dashboard, telemetry};

const LOGGED: &str = "info";
const EXAMPLES: &str = "\
Examples:
  sailhand dashboard                     read-only on http://127.0.0.1:8322
  sailhand dashboard --allow-actions     also send, cancel, pause, replay and purge
  sailhand dashboard --listen 127.0.0.1:0 --since 30d";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// Address and port of the pages [default: 127.0.0.1:8322]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Let users send, cancel, pause, replay and purge; the NATS user needs the operator's permissions
    #[arg(long)]
    allow_actions: bool,
    /// How far back runs are listed
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = super::duration)]
    since: Duration,
    /// How log lines look [default: text on a terminal, JSON otherwise]
    #[arg(long)]
    log_format: Option<LogFormat>,
}

pub(super) async fn run(global: &Global, options: Options) -> Result<Exit, Error> {
    let format = options.log_format.map(LogFormat::as_str);
    let loaded = global.load([
        Override::new("dashboard.listen", "--listen", options.listen.map(|address| address.to_string())),
        Override::new("dashboard.allow_actions", "--allow-actions", options.allow_actions.then_some(true)),
        Override::new("telemetry.log_format", "--log-format", format),
    ])?;
    let _telemetry = telemetry::start(&loaded.config.telemetry, LOGGED)?;
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone()));
    let running = dashboard::start(&loaded.config, options.since, catalog::catalog(), stop).await?;
    output::note(format_args!("Dashboard at http://{}", running.address));
    let ended = running.done.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    ended.map_err(|source| Error::local("serve the dashboard", source))?;
    Ok(Exit::Success)
}
