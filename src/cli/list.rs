//! `sailhand list`: commands with state, age, target, verb and attempts.

use std::time::Duration;

use clap::{Args, ValueEnum};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::output::{self, BAD, CHANGED, Format, GOOD, QUIET};
use super::table::{Cell, Table};
use super::{Error, Exit, Global, completions};
use crate::client::{CommandState, CommandSummary, ListFilter};
use crate::event::Outcome;

const EXAMPLES: &str = "\
Examples:
  sailhand list                      queued and running commands, and those of the last hour
  sailhand list -t prod --since 7d
  sailhand list --state failed -o name | xargs -n 1 sailhand get";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// Only commands of this target
    #[arg(short, long, add = completions::targets())]
    target: Option<String>,
    /// Only commands in this state
    #[arg(short, long)]
    state: Option<State>,
    /// How far back ended commands are listed
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = super::duration)]
    since: Duration,
    /// Output format [default: text on a terminal, JSON lines otherwise]
    #[arg(short, long)]
    output: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    Queued,
    Running,
    Retrying,
    Succeeded,
    Failed,
    Rejected,
    Cancelled,
    Expired,
    Superseded,
}

pub(super) async fn run(global: &Global, options: &Options) -> Result<Exit, Error> {
    let now = OffsetDateTime::now_utc();
    let filter = ListFilter { target: options.target.clone(), since: now - options.since };
    let mut commands = global.client().await?.list(&filter).await?;
    let wanted = options.state.and_then(|state| state.to_possible_value());
    commands.retain(|it| wanted.as_ref().is_none_or(|wanted| wanted.get_name() == it.state.as_str()));
    let format = Format::or_fitting(options.output);
    if !format.list(&commands, |command| command.key.clone())? {
        if commands.is_empty() {
            output::note("no commands");
        } else {
            output::line(table(&commands, now).text(format))?;
        }
    }
    Ok(Exit::Success)
}

fn table(commands: &[CommandSummary], now: OffsetDateTime) -> Table {
    let mut table = Table::new(&["KEY", "STATE", "AGE", "TARGET", "VERB", "ATTEMPTS", "WORKER"]);
    for command in commands {
        let style = match command.state {
            CommandState::Ended(Outcome::Succeeded) => GOOD,
            CommandState::Ended(Outcome::Failed | Outcome::Rejected | Outcome::Expired) => BAD,
            CommandState::Queued => QUIET,
            _ => CHANGED,
        };
        table.row([
            Cell::short(&command.key, 8),
            Cell::styled(style, command.state.as_str()),
            Cell::plain(age(&command.since, now)),
            Cell::plain(&command.target),
            Cell::plain(&command.verb),
            Cell::plain(command.attempts.to_string()),
            Cell::filling(&command.worker),
        ]);
    }
    table
}

/// How long ago, in the largest unit, as kubectl shows it.
pub(super) fn age(since: &str, now: OffsetDateTime) -> String {
    let Ok(since) = OffsetDateTime::parse(since, &Rfc3339) else { return "unknown".to_owned() };
    let seconds = (now - since).whole_seconds().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_in_the_largest_unit() {
        let now = OffsetDateTime::parse("2026-01-31T12:00:00Z", &Rfc3339).unwrap();
        for (since, shown) in [
            ("2026-01-31T11:59:58Z", "2s"),
            ("2026-01-31T11:50:00Z", "10m"),
            ("2026-01-31T02:00:00Z", "10h"),
            ("2026-01-01T00:00:00Z", "30d"),
            ("2026-01-31T12:00:10Z", "0s"),
            ("soon", "unknown"),
        ] {
            assert_eq!(age(since, now), shown, "{since}");
        }
    }
}
