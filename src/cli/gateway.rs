//! `sailhand gateway`: accepts commands as CloudEvents over HTTP until it is stopped.

use std::net::SocketAddr;

use clap::Args;

use super::server::{self, Logging};
use super::{Error, Exit, Global, output, schema};
use crate::config::Override;
use crate::gateway;

const LOGGED: &str = "info,async_nats=warn";
const EXAMPLES: &str = "\
Examples:
  sailhand gateway --config gateway.toml
  curl --fail-with-body http://127.0.0.1:8323/v1/events -H \"Authorization: Bearer $TOKEN\" \\
    -H 'Content-Type: application/cloudevents+json' -d @event.json
  curl \"http://127.0.0.1:8323/v1/commands/dev/$KEY?wait=60s\" -H \"Authorization: Bearer $TOKEN\"";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// Address and port of the HTTP server [default: 127.0.0.1:8323]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    logging: Logging,
}

pub(super) async fn run(global: &Global, options: &Options) -> Result<Exit, Error> {
    let loaded = global.load([
        Override::new("gateway.listen", "--listen", options.listen.map(|address| address.to_string())),
        options.logging.as_override(),
    ])?;
    let serve = async |stop| {
        let running = gateway::start(&loaded.config, &schema::verbs(), stop).await?;
        output::note(format_args!("Gateway at http://{}", running.address));
        if let Some(address) = running.tls_address {
            output::note(format_args!("Gateway with mutual TLS at https://{address}"));
        }
        if let Some(address) = running.metrics_address {
            output::note(format_args!("Metrics at http://{address}/metrics"));
        }
        running.done.await.map_err(|error| Error::local("serve the gateway", std::io::Error::other(error)))
    };
    server::serve(&loaded.config.telemetry, LOGGED, serve).await?;
    Ok(Exit::Success)
}
