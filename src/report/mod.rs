//! Reports of commands as data for people: tables, lists, objects and findings in the order of the output. The command line
//! writes them as text, the dashboard as HTML. Pure.

mod connections;
mod objects;
mod verbs;

pub use objects::{Change, ObjectLine, Objects, Words, name_plans};
pub use verbs::{blocks, message, warning};

use serde_json::Value;

/// Emphasis of a text. Each medium has its own colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// None.
    Plain,
    /// The name of the row.
    Strong,
    /// Less important than the rest.
    Quiet,
    /// As intended.
    Good,
    /// Changed, or of interest.
    Changed,
    /// Not as intended.
    Bad,
}

/// A text with its emphasis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The text, on one line.
    pub text: String,
    /// Its emphasis.
    pub tone: Tone,
}

impl Cell {
    /// A text with an emphasis.
    pub fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self { text: text.into(), tone }
    }

    /// A text without emphasis.
    pub fn plain(text: impl Into<String>) -> Self {
        Self::new(Tone::Plain, text)
    }
}

/// All findings of one code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeGroup {
    /// `error`, `warning` or `info`, with its emphasis.
    pub level: Cell,
    /// The code, such as `IST0101`.
    pub code: String,
    /// Title of the code; empty if it is not known.
    pub title: String,
    /// Object and field of each finding, and its message.
    pub findings: Vec<(String, String)>,
    /// The remedy; empty if it is not known.
    pub remedy: String,
}

/// One part of a report.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// A sentence.
    Line(Cell),
    /// Text of several lines, such as YAML, that is shown as it is.
    Text(String),
    /// A table; each row has as many cells as the header.
    Table {
        /// Names of the columns, in capitals.
        header: Vec<&'static str>,
        /// The rows.
        rows: Vec<Vec<Cell>>,
    },
    /// A titled list.
    List {
        /// The title.
        title: String,
        /// At least one item.
        items: Vec<String>,
    },
    /// What was done to objects, or would be.
    Objects(Objects),
    /// A message with a severity: `warning`, what it says, and the name of the check, if there is one.
    Message {
        /// `error`, `warning` or `info`, with its emphasis.
        severity: Cell,
        /// The message.
        text: String,
    },
    /// Findings of the analysis.
    Code(CodeGroup),
}

/// Whether a report, or a part of it, is of a dry run.
#[must_use]
pub fn is_dry_run(report: &Value) -> bool {
    let Value::Object(fields) = report else { return false };
    fields.iter().any(|(name, value)| match name.as_str() {
        "dry_run" => value == &Value::Bool(true),
        _ => is_dry_run(value),
    })
}
