//! `sailhand dlq`: lists, shows, replays and purges dead letters. What is replayed or purged is listed first.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use time::OffsetDateTime;

use super::list::age;
use super::output::{self, BAD, CHANGED, Format, GOOD, QUIET, STRONG, styled};
use super::table::{Cell, Table};
use super::{Error, Exit, Global, completions, confirm, draft};
use crate::client::{Client, DeadLetter, DeadLetters, Filter};
use crate::error::Code;
use crate::prose::plural;

const EXAMPLES: &str = "\
Examples:
  sailhand dlq list --target dev --since 1h      what went wrong on dev in the last hour
  sailhand dlq replay --code SH3001 --dry-run    the commands that would be sent again
  sailhand dlq purge 12 13 --yes                 these two, without a question";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// List dead letters, the newest last
    List(List),
    /// Show one dead letter and its remedy
    Show(One),
    /// Send the commands of dead letters again with new ids; the dead letters remain
    Replay(Replay),
    /// Delete dead letters
    Purge(Purge),
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    matching: Matching,
    /// Output format [default: text on a terminal, JSON lines otherwise]
    #[arg(short, long)]
    output: Option<Format>,
}

/// Selects dead letters by their fields.
#[derive(Debug, Args)]
#[group(multiple = true)]
struct Matching {
    /// Only dead letters with this reason
    #[arg(long)]
    reason: Option<Reason>,
    /// Only dead letters of this target
    #[arg(short, long, add = completions::targets())]
    target: Option<String>,
    /// Only dead letters with this error code, such as SH3001
    #[arg(long, add = completions::codes())]
    code: Option<String>,
    /// Only dead letters of this time, such as 1h for the last hour
    #[arg(long, value_name = "DURATION", value_parser = super::duration)]
    since: Option<Duration>,
    /// At most this number of dead letters, the newest
    #[arg(long, default_value_t = 100, value_parser = super::number::<usize>)]
    limit: usize,
    /// Also rejected commands, whose senders have got the reason as a result; --reason and --code include them
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Reason {
    /// The message is not a valid command
    Rejected,
    /// All attempts failed
    Exhausted,
    /// The command crashed the worker repeatedly
    Quarantined,
    /// The maximum number of deliveries was reached
    MaxDeliveries,
    /// Another client terminated the command
    Terminated,
}

#[derive(Debug, Args)]
pub(super) struct One {
    /// Number that `dlq list` shows
    #[arg(value_parser = super::number::<u64>, add = completions::dead_letters())]
    number: u64,
}

/// Dead letters by number or by their fields.
#[derive(Debug, Args)]
struct Chosen {
    /// Numbers that `dlq list` shows; without any, at least one of --reason, --target, --code and --since
    #[arg(value_name = "NUMBER", value_parser = super::number::<u64>, add = completions::dead_letters(),
          conflicts_with_all = ["reason", "target", "code", "since"])]
    numbers: Vec<u64>,
    #[command(flatten)]
    matching: Matching,
}

#[derive(Debug, Args)]
pub(super) struct Replay {
    #[command(flatten)]
    chosen: Chosen,
    /// List the commands that would be sent, and send nothing
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
        // Dead letters of messages without a target have the target `unknown`, which is a valid name.
        self.target.as_deref().map(draft::target).transpose()?;
        if let Some(code) = self.code.as_ref().filter(|code| known(code).is_none()) {
            return Err(Error::argument(format!("--code {code}"), "unknown code"));
        }
        let reason = self.reason.and_then(|reason| reason.to_possible_value());
        Ok(Filter {
            reason: reason.map(|reason| reason.get_name().to_owned()),
            target: self.target.clone(),
            code: self.code.clone(),
            since: self.since.map(|since| OffsetDateTime::now_utc() - since),
            limit: self.limit,
            without_rejected_commands: !self.all && self.reason.is_none() && self.code.is_none(),
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
                let reason = "name numbers, or one of --reason, --target, --code and --since";
                return Err(Error::argument("dead letters", reason));
            }
            let found = client.newest_dead_letters(&self.matching.filter()?).await?;
            note_omitted(&found);
            return Ok(found.letters);
        }
        let mut letters = Vec::new();
        for number in self.numbers.iter().collect::<BTreeSet<_>>() {
            letters.push(client.dead_letter(*number).await?);
        }
        Ok(letters)
    }
}

async fn list(global: &Global, options: List) -> Result<(), Error> {
    let found = global.client().await?.newest_dead_letters(&options.matching.filter()?).await?;
    let letters = &found.letters;
    let format = Format::or_fitting(options.output);
    if !format.list(letters, |letter| letter.sequence.to_string())? {
        if letters.is_empty() {
            output::line("no dead letters")?;
        } else {
            output::line(table(letters).text(format))?;
        }
    }
    note_omitted(&found);
    Ok(())
}

fn note_omitted(found: &DeadLetters) {
    if found.older > 0 {
        output::note(format_args!(
            "not listed: {} (--limit raises the limit)",
            plural(found.older, "older dead letter")
        ));
    }
    if found.rejected > 0 {
        let rejected = plural(found.rejected, "rejected command");
        output::note(format_args!("not listed: {rejected}, whose senders have got the reason (--all)"));
    }
    if !found.is_complete {
        output::note("the stream has older messages, which were not read; --reason or --target select fewer");
    }
}

fn table(letters: &[DeadLetter]) -> Table {
    let now = OffsetDateTime::now_utc();
    let mut table = Table::new(&["NUMBER", "AGE", "REASON", "CODE", "SUBJECT", "MESSAGE"]);
    for letter in letters {
        table.row([
            Cell::plain(letter.sequence.to_string()),
            Cell::plain(age(&letter.time, now)),
            Cell::plain(&letter.reason),
            Cell::plain(&letter.code),
            Cell::styled(STRONG, &letter.subject),
            Cell::filling(message(letter)),
        ]);
    }
    table
}

/// The first line of the error without its code, which has a column.
fn message(letter: &DeadLetter) -> &str {
    let line = letter.message.lines().next().unwrap_or_default();
    line.strip_prefix(&letter.code).map_or(line, |rest| rest.trim_start_matches([':', ' ']))
}

/// Sends each and prints its new key. Errors of one do not stop the others.
async fn replay(global: &Global, options: &Replay) -> Result<Exit, Error> {
    let client = global.client().await?;
    let letters = options.chosen.letters(&client).await?;
    let mut exit = Exit::Success;
    if options.dry_run && !letters.is_empty() {
        output::line(table(&letters).text(Format::Text))?;
        output::note(format_args!("{} would be sent again", letters.len()));
        return Ok(exit);
    }
    for letter in &letters {
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
    }
    Ok(exit)
}

/// Deletes the listed dead letters, one by one: newer ones stay.
async fn purge(global: &Global, options: &Purge) -> Result<Exit, Error> {
    let client = global.client().await?;
    let letters = options.chosen.letters(&client).await?;
    if letters.is_empty() {
        output::note("no dead letters");
        return Ok(Exit::Success);
    }
    output::line(table(&letters).text(Format::Text))?;
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

fn show(letter: &DeadLetter) -> Result<(), Error> {
    let (time, deliveries) = (output::seconds(&letter.time), letter.deliveries.to_string());
    output::line(styled(BAD, format_args!("{} {}", letter.reason, letter.message)))?;
    for (name, value) in [
        ("subject", &letter.subject),
        ("command", &letter.command),
        ("time", &time),
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
    output::line(output::broken(&format!("{help} {advice}")))?;
    // An invalid command is invalid again.
    if letter.event.is_some() && letter.reason != "rejected" {
        output::line(format_args!("      Send it again: sailhand dlq replay {}", letter.sequence))?;
    }
    output::line(output::more(&letter.code))
}
