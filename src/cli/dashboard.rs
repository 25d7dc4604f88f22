//! `sailhand dashboard`: serves web pages about runs, targets, findings and dead letters until it is stopped.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::output;
use super::server::{self, Logging};
use super::{Error, Exit, Global, catalog};
use crate::config::Override;
use crate::dashboard;

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
    #[command(flatten)]
    logging: Logging,
}

pub(super) async fn run(global: &Global, options: Options) -> Result<Exit, Error> {
    let loaded = global.load([
        Override::new("dashboard.listen", "--listen", options.listen.map(|address| address.to_string())),
        Override::new("dashboard.allow_actions", "--allow-actions", options.allow_actions.then_some(true)),
        options.logging.as_override(),
    ])?;
    let serve = async |stop| {
        let running = dashboard::start(&loaded.config, options.since, catalog::catalog(), stop).await?;
        output::note(format_args!("Dashboard at http://{}", running.address));
        let ended = running.done.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        ended.map_err(|source| Error::local("serve the dashboard", source))
    };
    server::serve(&loaded.config.telemetry, LOGGED, serve).await?;
    Ok(Exit::Success)
}
