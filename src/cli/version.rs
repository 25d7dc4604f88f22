//! `sailhand version`: the versions of this program, of nats-server and of the workers.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::output::{self, Format, QUIET, styled};
use super::{Error, Exit, Global};
use crate::client::Client;

/// How long NATS may take to answer.
const ANSWER: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Only the version of this program, without a connection to NATS
    #[arg(long)]
    client: bool,
    /// Output format
    #[arg(short, long, default_value = "text")]
    output: Format,
}

/// Versions; those of NATS are absent if it does not answer.
#[derive(Debug, Serialize)]
struct Versions {
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    nats_server: Option<String>,
    /// Version of each worker, by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    workers: Option<BTreeMap<String, String>>,
}

pub(super) async fn run(global: &Global, options: &Options) -> Result<Exit, Error> {
    let mut versions = Versions { version: env!("CARGO_PKG_VERSION"), nats_server: None, workers: None };
    if !options.client {
        let config = global.config()?;
        let reached = tokio::time::timeout(ANSWER, ask(&config, &mut versions)).await;
        if reached.is_err() || versions.nats_server.is_none() {
            let url = config.nats.url.join(",");
            output::note(styled(
                QUIET,
                format_args!("NATS at {url} does not answer; `sailhand check nats` has the reason"),
            ));
        }
    }
    if !options.output.record(&versions, versions.version)? {
        output::line(format_args!("sailhand {}", versions.version))?;
        if let Some(version) = &versions.nats_server {
            output::line(format_args!("nats-server {version}"))?;
        }
        for (worker, version) in versions.workers.iter().flatten() {
            output::line(format_args!("worker {worker} {version}"))?;
        }
    }
    Ok(Exit::Success)
}

/// Adds the versions that NATS and the cards of the workers have. What cannot be read stays absent.
async fn ask(config: &crate::config::Config, versions: &mut Versions) {
    let Ok(client) = Client::connect(config).await else { return };
    versions.nats_server = Some(client.bus().context().client().server_info().version);
    if let Ok(Some(cards)) = client.cards().await {
        let cards = cards.into_values().flatten();
        versions.workers = Some(cards.map(|card| (card.worker, card.version)).collect());
    }
}
