//! `sailhand cancel`: asks for a command to end, whether it waits or runs.

use clap::Args;

use super::output;
use super::{CommandId, Error, Exit, Global};
use crate::client::{Observation, Observed, State};
use crate::error::{Classify as _, Code};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    id: CommandId,
}

pub(super) async fn run(global: &Global, options: &Options) -> Result<Exit, Error> {
    let key = options.id.key();
    let client = global.client().await?;
    client.cancel(&key, crate::client::SOURCE).await.map_err(crate::client::Error::from)?;
    // Whoever may cancel need not be allowed to read.
    match client.state(&key).await {
        Ok(State::Ended(Observation { observed: Observed::Result(result), .. })) => {
            output::note(format_args!("It has ended already: {}.", result.outcome.as_str()));
        }
        Err(error) if error.code() == Code::SH2008 => {
            output::note(format_args!("Asked, but nothing is known of a command {key}. It ends when it comes."));
        }
        _ => output::note(format_args!("Asked. A running task stops at its next safe point: `sailhand watch {key}`.")),
    }
    Ok(Exit::Success)
}
