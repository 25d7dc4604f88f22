//! `sailhand targets`: which clusters are paused, what is in their queues, and what went wrong.

use clap::Args;

use super::output::{self, CHANGED, Format, GOOD, QUIET, STRONG, styled};
use super::{Error, Exit, Global};
use crate::client::TargetState;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// How to write [default: text on a terminal, JSON lines otherwise]
    #[arg(short, long)]
    output: Option<Format>,
}

pub(super) async fn run(global: &Global, options: &Options) -> Result<Exit, Error> {
    // Workers know their targets and do not tell; those of the own configuration are shown even when idle.
    let known = global.config()?.targets.into_keys().collect();
    let targets = global.client().await?.targets(known).await?;
    match Format::or_fitting(options.output) {
        Format::Json => targets.iter().try_for_each(output::json)?,
        Format::Text if targets.is_empty() => output::line("no target is paused or has commands")?,
        Format::Text => targets.iter().try_for_each(|target| output::line(one_line(target)))?,
    }
    Ok(Exit::Success)
}

fn one_line(target: &TargetState) -> String {
    let state = match &target.paused {
        None => styled(GOOD, format_args!("{:<7}", "open")),
        Some(_) => styled(CHANGED, format_args!("{:<7}", "paused")),
    };
    let numbers = format!("{:>6} in the queue  {:>5} dead letters", target.queued, target.dead_letters);
    let mut line = format!("{} {state} {numbers}", styled(STRONG, format_args!("{:<24}", target.target)));
    if let Some(pause) = &target.paused {
        let reason = pause.reason.as_deref().map_or_else(String::new, |reason| format!(": {reason}"));
        line += &styled(QUIET, format_args!("  since {} by {}{reason}", pause.since, pause.by));
    }
    line
}
