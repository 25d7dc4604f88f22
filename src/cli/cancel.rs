//! `sailhand cancel`: cancels a queued or running command.

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
    let client = global.client().await?;
    let key = options.id.key(&client).await?;
    match client.state(&key).await {
        Ok(State::Ended(Observation { observed: Observed::Result(result), .. })) => {
            output::note(format_args!("The command has already ended: {}.", result.outcome.as_str()));
            return Ok(Exit::Success);
        }
        // The cancellation of a command that does not exist would cancel one that is sent later.
        Err(error) if is_unknown(&error) => return Err(options.id.unknown()),
        // Credentials that may cancel need not be allowed to read.
        Err(_) | Ok(_) => {}
    }
    client.cancel(&key, crate::client::SOURCE).await.map_err(crate::client::Error::from)?;
    output::note(format_args!(
        "Cancellation requested; a running command stops before its next write: `sailhand watch {key}`."
    ));
    Ok(Exit::Success)
}

/// Whether the command is known not to exist. Without the right to read the queue that is not known.
pub(super) fn is_unknown(error: &crate::client::Error) -> bool {
    error.code() == Code::SH2008 && !error.to_string().contains("may not be read")
}
