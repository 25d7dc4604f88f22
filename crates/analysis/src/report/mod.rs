//! Formats findings for people and for programs. Output is text; the caller removes colors if necessary.

pub mod graph;
pub mod html;
pub mod istioctl;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod pages;
pub mod sarif;
pub mod text;

use std::collections::BTreeMap;

use sailhand_base::prose::plural;

use super::source::Sources;
use super::{Finding, Level};

/// Findings and the data needed to print them.
#[derive(Debug)]
pub struct Report<'a> {
    /// Findings in output order.
    pub findings: &'a [Finding],
    /// Sources, for line numbers.
    pub sources: &'a Sources,
    /// Number of analyzed objects.
    pub objects: usize,
    /// Number of suppressed findings.
    pub suppressed: usize,
}

impl Report<'_> {
    /// Number of findings of a level.
    #[must_use]
    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// Number of findings of each code.
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
