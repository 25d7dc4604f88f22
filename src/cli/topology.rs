//! `sailhand topology`: creates streams, buckets and consumers as declared, or compares them.

use clap::Subcommand;

use super::output::{self, CHANGED, GOOD, QUIET, styled};
use super::{Error, Exit, Global};
use crate::bus::nats::topology;
use crate::bus::topology::Topology;
use crate::client::{self, Client};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create missing streams, buckets and consumers and update those that differ; no message is lost. Needs admin rights
    Apply,
    /// Compare them with the declaration and write nothing
    Verify,
}

pub(super) async fn run(global: &Global, command: &Command) -> Result<Exit, Error> {
    let config = global.config()?;
    let client = Client::connect(&config).await.map_err(client::Error::from)?;
    let declared = Topology::new(&config.bus);
    match command {
        Command::Apply => {
            for applied in topology::apply(client.bus(), &declared).await.map_err(client::Error::from)? {
                let style = match applied.action {
                    "created" => GOOD,
                    "updated" | "migrated" => CHANGED,
                    _ => QUIET,
                };
                output::line(format_args!(
                    "{} {}",
                    styled(style, format_args!("{:<9}", applied.action)),
                    applied.name
                ))?;
            }
        }
        Command::Verify => {
            topology::verify(client.bus(), &declared).await.map_err(client::Error::from)?;
            output::line(format_args!("{} streams, buckets and consumers are as declared", styled(GOOD, "✔")))?;
        }
    }
    Ok(Exit::Success)
}
