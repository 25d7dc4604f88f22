//! `sailhand cancel`: asks for a command to end, whether it waits or runs.

use clap::Args;

use super::output;
use super::{CommandId, Error, Exit, Global};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    id: CommandId,
}

pub(super) async fn run(global: &Global, options: &Options) -> Result<Exit, Error> {
    let key = options.id.key();
    let client = global.client().await?;
    client.cancel(&key, crate::client::SOURCE).await.map_err(crate::client::Error::from)?;
    output::note(format_args!("Asked. A running task stops at its next safe point: `sailhand watch {key}`."));
    Ok(Exit::Success)
}
