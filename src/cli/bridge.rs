//! `sailhand bridge`: serves Meshery's gRPC contract until it is stopped; `bridge match` prints the configuration that
//! recognizes a kubeconfig.

use std::io::Read;
use std::net::SocketAddr;

use clap::{Args, Subcommand};

use super::output;
use super::server::{self, Logging};
use super::{Error, Exit, Global, draft};
use crate::bridge::{self, kubeconfig};
use crate::config::Override;

const LOGGED: &str = "info,async_nats=warn";
const EXAMPLES: &str = "\
Examples:
  sailhand bridge match --target dev < ~/.kube/config    print the section of a cluster
  sailhand bridge --config bridge.toml                   serve on 127.0.0.1:10000";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    /// Address and port of the plaintext listener [default: 127.0.0.1:10000]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    logging: Logging,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read a kubeconfig from standard input and print the section that recognizes its cluster
    Match(Match),
}

#[derive(Debug, Args)]
struct Match {
    /// Id of the target that the section is for
    #[arg(short, long)]
    target: String,
}

pub(super) async fn run(global: &Global, options: Options) -> Result<Exit, Error> {
    if let Some(Command::Match(options)) = options.command {
        return print_section(&options);
    }
    let loaded = global.load([
        Override::new("bridge.listen", "--listen", options.listen.map(|address| address.to_string())),
        options.logging.as_override(),
    ])?;
    let serve = async |stop| {
        let running = bridge::start(&loaded.config, stop).await?;
        output::note(format_args!("Bridge at {}", running.address));
        if let Some(address) = running.tls_address {
            output::note(format_args!("Bridge with mutual TLS at {address}"));
        }
        if let Some(address) = running.metrics_address {
            output::note(format_args!("Metrics at http://{address}/metrics"));
        }
        let ended = running.done.await.map_err(std::io::Error::other);
        let ended = ended.and_then(|served| served.map_err(std::io::Error::other));
        ended.map_err(|source| Error::local("serve the bridge", source))
    };
    server::serve(&loaded.config.telemetry, LOGGED, serve).await?;
    Ok(Exit::Success)
}

fn print_section(options: &Match) -> Result<Exit, Error> {
    let target = draft::target(&options.target)?;
    let mut text = String::new();
    let most = u64::try_from(kubeconfig::MAX_BYTES).unwrap_or(u64::MAX) + 1;
    let read = std::io::stdin().lock().take(most).read_to_string(&mut text);
    read.map_err(|source| Error::local("read standard input", source))?;
    let facts = kubeconfig::read(&text).map_err(|reason| bridge::error::Error::Kubeconfig { number: 1, reason })?;
    let authorities: Vec<String> = facts.ca_sha256.iter().map(|digest| format!("{digest:?}")).collect();
    output::line(format_args!("[bridge.targets.{target}]"))?;
    output::line(format_args!("server = [{:?}]", facts.server.to_string()))?;
    output::line(format_args!("ca_sha256 = [{}]", authorities.join(", ")))?;
    output::line(format_args!("# contexts = [{:?}]  # also accept this context name", facts.context))?;
    if authorities.is_empty() {
        output::line("server_only = true  # the kubeconfig has no certificate-authority-data")?;
    }
    Ok(Exit::Success)
}
