//! Writing to the terminal; see [`sailhand_analyze::output`], which this has in common with the small analyzer.

use std::fmt::Display;
use std::io::IsTerminal;

use clap::ValueEnum;
use sailhand_analyze::output;

pub(super) use output::{BAD, CHANGED, GOOD, QUIET, STRONG, Style, broken, note, problem, render, shown, styled};

use super::Error;

/// How results and events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// One JSON document for each line
    Json,
}

impl Format {
    /// The format asked for; else text for people and JSON for programs.
    pub(super) fn or_fitting(asked: Option<Self>) -> Self {
        asked.unwrap_or(if std::io::stdout().is_terminal() { Self::Text } else { Self::Json })
    }
}

/// A line of the answer.
pub(super) fn line(text: impl Display) -> Result<(), Error> {
    Ok(output::line(text)?)
}

/// A line for programs, as it is.
pub(super) fn whole(text: impl Display) -> Result<(), Error> {
    Ok(output::whole(text)?)
}

/// A value as one line of JSON.
pub(super) fn json(value: &impl serde::Serialize) -> Result<(), Error> {
    Ok(output::json(value)?)
}
