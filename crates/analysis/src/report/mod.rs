//! Shows findings: for people and for programs. Pure text; colours come from whoever prints it.

pub mod graph;
pub mod html;
pub mod istioctl;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod pages;
pub mod sarif;
pub mod text;

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::source::Sources;
use super::{Finding, Level};

/// Findings with what they were found in.
#[derive(Debug)]
pub struct Report<'a> {
    /// In order.
    pub findings: &'a [Finding],
    /// Where lines are looked up.
    pub sources: &'a Sources,
    /// How many objects were looked at.
    pub objects: usize,
    /// How many findings were left out as accepted.
    pub suppressed: usize,
}

impl Report<'_> {
    /// How many there are of each level.
    #[must_use]
    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// How many there are of each code.
    #[must_use]
    pub fn by_code(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for finding in self.findings {
            *counts.entry(finding.code.id).or_default() += 1;
        }
        counts
    }
}

/// Number of findings of a level: `2 errors`, `1 warning`, `5 info`.
fn counted(report: &Report<'_>, level: Level) -> String {
    let count = report.count(level);
    if level == Level::Info { format!("{count} info") } else { plural(count, level.as_str()) }
}

/// `1 error`, `2 errors`.
fn plural(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

/// Text as it stands in HTML and XML, also between quotes. What neither may hold becomes a replacement character.
fn escaped(text: &str) -> Cow<'_, str> {
    let special = |c: char| matches!(c, '&' | '<' | '>' | '"' | '\'') || (c.is_control() && !matches!(c, '\n' | '\t'));
    if !text.contains(special) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if special(c) => safe.push(char::REPLACEMENT_CHARACTER),
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}
