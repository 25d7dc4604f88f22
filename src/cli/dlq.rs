//! `sailhand dlq`: commands that did not get done.

use clap::{Args, Subcommand, ValueEnum};

use super::output::{self, BAD, Format, QUIET, STRONG, styled};
use super::{Error, Exit, Global};
use crate::client::{DeadLetter, Filter};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List dead letters, oldest first
    List(List),
    /// Show one dead letter whole
    Show(One),
    /// Send the command of a dead letter again, with a new id
    Replay(One),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only those given up for this reason
    #[arg(long)]
    reason: Option<Reason>,
    /// Only those of this cluster
    #[arg(short, long)]
    target: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// How to write [default: text on a terminal, JSON lines otherwise]
    #[arg(short, long)]
    output: Option<Format>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Reason {
    /// Not a command, or one that cannot be
    Rejected,
    /// All attempts failed
    Exhausted,
    /// It took the worker down each time
    Quarantined,
}

#[derive(Debug, Args)]
pub(super) struct One {
    /// Number that `dlq list` shows
    number: u64,
}

pub(super) async fn run(global: &Global, command: Command) -> Result<Exit, Error> {
    match command {
        Command::List(options) => list(global, options).await?,
        Command::Show(One { number }) => show(&global.client().await?.dead_letter(number).await?)?,
        Command::Replay(One { number }) => {
            let client = global.client().await?;
            let letter = client.dead_letter(number).await?;
            let sent = client.replay(&letter).await?;
            output::line(&sent.key)?;
        }
    }
    Ok(Exit::Success)
}

async fn list(global: &Global, options: List) -> Result<(), Error> {
    let target = options.target.map(|target| match target.parse::<crate::event::Target>() {
        Ok(_) => Ok(target),
        Err(()) => Err(Error::argument(format!("--target {target}"), "must be 1 to 63 of a-z, 0-9 and -")),
    });
    let reason = options.reason.map(|reason| match reason {
        Reason::Rejected => "rejected".to_owned(),
        Reason::Exhausted => "exhausted".to_owned(),
        Reason::Quarantined => "quarantined".to_owned(),
    });
    let filter = Filter { reason, target: target.transpose()?, limit: options.limit };
    let letters = global.client().await?.dead_letters(&filter).await?;
    match Format::or_fitting(options.output) {
        Format::Json => letters.iter().try_for_each(output::json),
        Format::Text if letters.is_empty() => output::line("no dead letters"),
        Format::Text => letters.iter().try_for_each(|letter| output::line(one_line(letter))),
    }
}

fn one_line(letter: &DeadLetter) -> String {
    format!(
        "{:>6}  {}  {:<11} {}  {}",
        letter.sequence,
        letter.time,
        letter.reason,
        styled(STRONG, &letter.subject),
        letter.message
    )
}

fn show(letter: &DeadLetter) -> Result<(), Error> {
    let deliveries = letter.deliveries.to_string();
    output::line(styled(BAD, format_args!("{} {}", letter.reason, letter.message)))?;
    for (name, value) in [
        ("subject", &letter.subject),
        ("command", &letter.command),
        ("time", &letter.time),
        ("worker", &letter.worker),
        ("deliveries", &deliveries),
    ] {
        output::line(format_args!("{} {value}", styled(QUIET, format_args!("{name}:"))))?;
    }
    match &letter.event {
        Some(event) => output::line(format_args!("{event:#}")),
        None => output::line(letter.raw.as_deref().unwrap_or_default()),
    }
}
