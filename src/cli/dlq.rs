//! `sailhand dlq`: commands that did not get done. What is replayed or purged is shown first, and nothing else is.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use time::OffsetDateTime;

use super::output::{self, BAD, CHANGED, Format, GOOD, QUIET, STRONG, styled};
use super::{Error, Exit, Global, confirm};
use crate::client::{Client, DeadLetter, Filter};
use crate::error::Code;

const EXAMPLES: &str = "\
Examples:
  sailhand dlq list --target dev --since 1h      what went wrong on dev in the last hour
  sailhand dlq replay --code SH3001 --dry-run    what would be sent again
  sailhand dlq purge 12 13 --yes                 these two, without being asked";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// List dead letters, oldest first
    List(List),
    /// Show one dead letter whole, and what to do about it
    Show(One),
    /// Send the commands of dead letters again, with new ids; the letters stay
    Replay(Replay),
    /// Delete dead letters
    Purge(Purge),
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    matching: Matching,
    /// How to write [default: text on a terminal, JSON lines otherwise]
    #[arg(short, long)]
    output: Option<Format>,
}

/// Which dead letters, by what they say.
#[derive(Debug, Args)]
#[group(multiple = true)]
struct Matching {
    /// Only those given up for this reason
    #[arg(long)]
    reason: Option<Reason>,
    /// Only those of this cluster
    #[arg(short, long)]
    target: Option<String>,
    /// Only those that failed with this code, such as SH3001
    #[arg(long)]
    code: Option<String>,
    /// Only those of the last so long, such as 1h
    #[arg(long, value_name = "DURATION", value_parser = super::duration)]
    since: Option<Duration>,
    /// At most so many, the oldest
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Reason {
    /// Not a command, or one that cannot be
    Rejected,
    /// All attempts failed
    Exhausted,
    /// It took the worker down each time
    Quarantined,
    /// The bus does not deliver it any more
    MaxDeliveries,
    /// Somebody else took it off the queue
    Terminated,
}

#[derive(Debug, Args)]
pub(super) struct One {
    /// Number that `dlq list` shows
    number: u64,
}

/// Which dead letters: by number, or by what they say.
#[derive(Debug, Args)]
struct Chosen {
    /// Numbers that `dlq list` shows; without any, at least one of --reason, --target, --code and --since
    #[arg(value_name = "NUMBER", conflicts_with_all = ["reason", "target", "code", "since"])]
    numbers: Vec<u64>,
    #[command(flatten)]
    matching: Matching,
}

#[derive(Debug, Args)]
pub(super) struct Replay {
    #[command(flatten)]
    chosen: Chosen,
    /// Show which would be sent, and send nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct Purge {
    #[command(flatten)]
    chosen: Chosen,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub(super) async fn run(global: &Global, command: Command) -> Result<Exit, Error> {
    match command {
        Command::List(options) => list(global, options).await?,
        Command::Show(One { number }) => show(&global.client().await?.dead_letter(number).await?)?,
        Command::Replay(options) => return replay(global, &options).await,
        Command::Purge(options) => return purge(global, &options).await,
    }
    Ok(Exit::Success)
}

impl Matching {
    fn filter(&self) -> Result<Filter, Error> {
        if let Some(target) = self.target.as_ref().filter(|target| target.parse::<crate::event::Target>().is_err()) {
            // Letters of messages that name none have this word in its place, which is a fine name too.
            return Err(Error::argument(format!("--target {target}"), "must be 1 to 63 of a-z, 0-9 and -"));
        }
        if let Some(code) = self.code.as_ref().filter(|code| known(code).is_none()) {
            return Err(Error::argument(format!("--code {code}"), "there is no such code"));
        }
        let reason = self.reason.and_then(|reason| reason.to_possible_value());
        Ok(Filter {
            reason: reason.map(|reason| reason.get_name().to_owned()),
            target: self.target.clone(),
            code: self.code.clone(),
            since: self.since.map(|since| OffsetDateTime::now_utc() - since),
            limit: self.limit,
        })
    }

    fn is_everything(&self) -> bool {
        self.reason.is_none() && self.target.is_none() && self.code.is_none() && self.since.is_none()
    }
}

impl Chosen {
    async fn letters(&self, client: &Client) -> Result<Vec<DeadLetter>, Error> {
        if self.numbers.is_empty() {
            if self.matching.is_everything() {
                let reason = "say which: numbers, or one of --reason, --target, --code and --since";
                return Err(Error::argument("dead letters", reason));
            }
            return Ok(client.dead_letters(&self.matching.filter()?).await?);
        }
        let mut letters = Vec::new();
        for number in self.numbers.iter().collect::<BTreeSet<_>>() {
            letters.push(client.dead_letter(*number).await?);
        }
        Ok(letters)
    }
}

async fn list(global: &Global, options: List) -> Result<(), Error> {
    let letters = global.client().await?.dead_letters(&options.matching.filter()?).await?;
    match Format::or_fitting(options.output) {
        Format::Json => letters.iter().try_for_each(output::json),
        Format::Text if letters.is_empty() => output::line("no dead letters"),
        Format::Text => letters.iter().try_for_each(|letter| output::line(one_line(letter))),
    }
}

/// The new keys on standard output, one for each line; one that cannot be sent does not keep the others.
async fn replay(global: &Global, options: &Replay) -> Result<Exit, Error> {
    let client = global.client().await?;
    let letters = options.chosen.letters(&client).await?;
    let mut exit = Exit::Success;
    for letter in &letters {
        if options.dry_run {
            output::line(one_line(letter))?;
            continue;
        }
        match client.replay(letter).await {
            Ok(sent) => output::line(&sent.key)?,
            Err(error) if letters.len() == 1 => return Err(error.into()),
            Err(error) => {
                output::note(format_args!("dead letter {} was not sent", letter.sequence));
                output::problem(&error);
                exit = Exit::Failed;
            }
        }
    }
    if letters.is_empty() {
        output::note("no dead letters");
    } else if options.dry_run {
        output::note(format_args!("{} would be sent again", letters.len()));
    }
    Ok(exit)
}

/// Deletes what it has shown, one by one: what comes in the meantime stays.
async fn purge(global: &Global, options: &Purge) -> Result<Exit, Error> {
    let client = global.client().await?;
    let letters = options.chosen.letters(&client).await?;
    if letters.is_empty() {
        output::note("no dead letters");
        return Ok(Exit::Success);
    }
    for letter in &letters {
        output::line(one_line(letter))?;
    }
    if !options.yes && !confirmed(letters.len())? {
        output::note("Nothing was deleted.");
        return Ok(Exit::Failed);
    }
    let mut gone = 0;
    for letter in &letters {
        gone += usize::from(client.purge(letter).await?);
    }
    output::note(styled(CHANGED, format_args!("{gone} deleted")));
    Ok(Exit::Success)
}

fn confirmed(number: usize) -> Result<bool, Error> {
    if !confirm::can_ask() {
        let reason = "not a terminal: refusing to ask; pass --yes to delete what is listed";
        return Err(Error::argument("dlq purge", reason));
    }
    confirm::ask(&format!("Delete {} for good?", if number == 1 { "it" } else { "them" }))
}

fn known(code: &str) -> Option<Code> {
    Code::ALL.iter().copied().find(|known| known.as_str() == code)
}

fn one_line(letter: &DeadLetter) -> String {
    format!(
        "{:>6}  {}  {:<14} {}  {}",
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
        Some(event) => output::line(format_args!("{event:#}"))?,
        None => output::line(letter.raw.as_deref().unwrap_or_default())?,
    }
    let advice = known(&letter.code).map_or("", Code::remedy);
    let help = styled(GOOD, "help:");
    match &letter.event {
        Some(_) => {
            output::line(format_args!("{help} {advice} Send it again: `sailhand dlq replay {}`", letter.sequence))
        }
        None => output::line(format_args!("{help} {advice}")),
    }
}
