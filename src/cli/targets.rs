//! `sailhand targets`: the targets with their workers, cluster, pause, queue and dead letters.

use std::collections::BTreeSet;

use clap::Args;

use super::output::{self, BAD, CHANGED, Format, GOOD, QUIET, STRONG, styled};
use super::table::{Cell, Table};
use super::{Error, Exit, Global};
use crate::bus::TargetCard;
use crate::client::TargetState;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Output format [default: text on a terminal, JSON lines otherwise]
    #[arg(short, long)]
    output: Option<Format>,
}

pub(super) async fn run(global: &Global, options: &Options) -> Result<Exit, Error> {
    // Targets of the local configuration are listed even when no worker runs.
    let known = global.config()?.targets.into_keys().collect();
    let targets = global.client().await?.targets(known).await?;
    let format = Format::or_fitting(options.output);
    if !format.list(&targets, |target| target.target.clone())? {
        if targets.is_empty() {
            output::line("no targets: no worker is running, and the configuration has no target")?;
        } else {
            output::line(table(&targets, format))?;
        }
    }
    Ok(Exit::Success)
}

fn table(targets: &[TargetState], format: Format) -> String {
    let mut table =
        Table::new(&["TARGET", "STATE", "QUEUED", "DEAD LETTERS", "WORKERS", "VERSION", "CONTEXT", "API SERVER"])
            .spare(&["VERSION", "API SERVER"]);
    for target in targets {
        let card = target.workers.first();
        table.row([
            Cell::styled(STRONG, &target.target),
            match &target.paused {
                None => Cell::styled(GOOD, "open"),
                Some(_) => Cell::styled(CHANGED, "paused"),
            },
            Cell::plain(target.queued.to_string()),
            Cell::plain(target.dead_letters.to_string()),
            if target.workers.is_empty() {
                Cell::styled(BAD, "0")
            } else {
                Cell::plain(target.workers.len().to_string())
            },
            Cell::plain(versions(&target.workers)),
            Cell::plain(card.map_or("", |card| &card.context)),
            Cell::filling(card.map_or("", |card| &card.server)),
        ]);
    }
    let mut text = table.text(format);
    for target in targets {
        for card in &target.workers {
            if let Some(problem) = &card.problem {
                let line = format!("{}: worker {} cannot use its kubeconfig: {problem}", target.target, card.worker);
                text = format!("{text}\n{}", styled(BAD, output::broken(&line)));
            }
        }
        if let Some(pause) = &target.paused {
            let reason = pause.reason.as_deref().map_or_else(String::new, |reason| format!(": {reason}"));
            let line = format!(
                "{} has been paused since {} by {}{reason}",
                target.target,
                output::seconds(&pause.since),
                pause.by
            );
            text = format!("{text}\n{}", styled(QUIET, output::broken(&line)));
        }
    }
    text
}

/// The versions of the workers of a target: one, except during an upgrade.
fn versions(workers: &[TargetCard]) -> String {
    let versions: BTreeSet<&str> = workers.iter().map(|card| card.version.as_str()).collect();
    versions.into_iter().collect::<Vec<_>>().join(", ")
}
