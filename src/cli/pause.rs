//! `sailhand pause` and `sailhand resume`: hold the queued commands of a target, and release them.

use clap::Args;

use super::output::{self, CHANGED, GOOD, styled};
use super::{Error, Exit, Global, completions, draft, submit};
use crate::client;

/// Characters of a reason and of a name.
const LINE: usize = 500;

#[derive(Debug, Args)]
pub(super) struct Pause {
    /// The target
    #[arg(add = completions::targets())]
    target: String,
    /// Reason that `sailhand targets` shows
    #[arg(long)]
    reason: Option<String>,
    /// Your name, which `sailhand targets` shows
    #[arg(long, value_name = "NAME", env = "USER", hide_env_values = true, default_value = client::SOURCE)]
    by: String,
}

#[derive(Debug, Args)]
pub(super) struct Resume {
    /// The target
    #[arg(add = completions::targets())]
    target: String,
}

pub(super) async fn pause(global: &Global, options: &Pause) -> Result<Exit, Error> {
    let target = draft::target_argument(&options.target, &options.target)?;
    let reason = options.reason.as_deref();
    for (argument, text) in [("--reason", reason), ("--by", Some(options.by.as_str()))] {
        if text.is_some_and(|text| text.chars().count() > LINE || text.contains(char::is_control)) {
            return Err(Error::argument(argument, format!("must be one line of at most {LINE} characters")));
        }
    }
    let client = global.client().await?;
    if let Ok(Some(cards)) = client.cards().await {
        submit::warn_of_target(&target, &cards);
    }
    client.pause(&target, &options.by, reason).await?;
    output::note(format_args!(
        "{} {target}: running commands finish, queued commands wait.",
        styled(CHANGED, "paused")
    ));
    Ok(Exit::Success)
}

pub(super) async fn resume(global: &Global, options: &Resume) -> Result<Exit, Error> {
    let target = draft::target_argument(&options.target, &options.target)?;
    if global.client().await?.resume(&target).await? {
        output::note(format_args!(
            "{} {target}: queued commands start, the first within 5 s.",
            styled(GOOD, "resumed")
        ));
    } else {
        output::note(format_args!("{target} was not paused"));
    }
    Ok(Exit::Success)
}
