//! Output to the terminal and the formats of `--output`. [`sailhand_analyze::output`] has what the small analyzer needs too.

use std::fmt::Display;
use std::io::IsTerminal;

use clap::ValueEnum;
use sailhand_analyze::output;
use serde::Serialize;

pub(super) use output::{BAD, CHANGED, GOOD, QUIET, STRONG, Style, broken, note, shown, styled, width};

use super::Error;
use crate::error::{Classify, Problem};

/// Format of results, lists and events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Tables and text for people
    Text,
    /// As text, with all columns and nothing shortened
    Wide,
    /// YAML; one document for each record
    Yaml,
    /// Indented JSON; a list is one array, a stream of events one line for each
    Json,
    /// JSON lines: one record on each line
    Jsonl,
    /// Only keys, names or numbers, one on each line
    Name,
}

impl Format {
    /// The requested format; by default text on a terminal and JSON lines elsewhere.
    pub(super) fn or_fitting(asked: Option<Self>) -> Self {
        asked.unwrap_or(if std::io::stdout().is_terminal() { Self::Text } else { Self::Jsonl })
    }

    /// Whether people read it.
    pub(super) const fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Wide)
    }

    /// Writes a list in a format for programs, with `name` for [`Format::Name`]; `false` for a format for people, which
    /// the caller writes.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub(super) fn list<T: Serialize>(self, items: &[T], name: impl Fn(&T) -> String) -> Result<bool, Error> {
        match self {
            Self::Text | Self::Wide => return Ok(false),
            Self::Yaml | Self::Jsonl => items.iter().try_for_each(|item| self.event(item))?,
            Self::Json => indented(&items)?,
            Self::Name => items.iter().try_for_each(|item| line(name(item)))?,
        }
        Ok(true)
    }

    /// Writes one record as [`Format::list`] writes a list.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub(super) fn record(self, item: &impl Serialize, name: impl Display) -> Result<bool, Error> {
        match self {
            Self::Text | Self::Wide => return Ok(false),
            Self::Yaml | Self::Jsonl => self.event(item)?,
            Self::Json => indented(item)?,
            Self::Name => line(name)?,
        }
        Ok(true)
    }

    /// Writes one record of a stream: a YAML document or one line of JSON.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub(super) fn event(self, item: &impl Serialize) -> Result<(), Error> {
        match self {
            Self::Yaml => {
                let text = serde_saphyr::to_string(item)
                    .map_err(|error| Error::local("write YAML", std::io::Error::other(error.to_string())))?;
                whole(format_args!("---\n{}", text.trim_end()))
            }
            _ => json(item),
        }
    }
}

/// A time of RFC 3339 without fractions of seconds.
pub(super) fn seconds(time: &str) -> String {
    match time.split_once('.') {
        Some((start, rest)) if rest.ends_with('Z') => format!("{start}Z"),
        _ => time.to_owned(),
    }
}

/// Prints an error on standard error.
pub(super) fn problem(error: &dyn Classify) {
    note(render(&Problem::new(error)));
}

/// Code and message, causes, remedy, and the command that prints the page of the code.
pub(super) fn render(problem: &Problem) -> String {
    format!("{}\n  {}", output::render(problem), more(&problem.code))
}

/// The command that prints the page of a code.
pub(super) fn more(code: &str) -> String {
    styled(QUIET, format_args!("more: sailhand explain {code}"))
}

/// A line of output with escaped control characters.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn line(text: impl Display) -> Result<(), Error> {
    Ok(output::line(text)?)
}

/// A line for programs, without escaping.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn whole(text: impl Display) -> Result<(), Error> {
    Ok(output::whole(text)?)
}

/// A value as one line of JSON.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn json(value: &impl Serialize) -> Result<(), Error> {
    Ok(output::json(value)?)
}

fn indented(value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).map_err(|source| Error::local("write JSON", source.into()))?;
    whole(text)
}
