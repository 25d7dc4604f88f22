//! `sailhand lsp`: the language server of the analysis for editors. It analyzes files only and does not connect to NATS or
//! a cluster.

use clap::Args;
use sailhand_analyze::lsp::{self, ServerOptions};

use super::{Error, Exit};
use crate::clock::Clock;

#[derive(Debug, Args)]
#[command(after_help = "\
Editors start this program; docs/editors.md shows the settings of VS Code, Neovim and Helix.

Examples:
  sailhand lsp
  sailhand lsp --namespace shop --suppress IST0102")]
pub(super) struct Options {
    #[command(flatten)]
    server: ServerOptions,
}

pub(super) async fn run(options: Options) -> Result<Exit, Error> {
    let now = || Clock::system().now().unix_timestamp();
    let serve = tokio::task::spawn_blocking(move || lsp::serve(&options.server, now));
    let ended = serve.await.map_err(|error| Error::local("serve the editor", std::io::Error::other(error)))?;
    Ok(ended.map(|()| Exit::Success)?)
}
