//! Shows findings: for people and for programs. Pure text; colours come from whoever prints it.

pub mod json;
pub mod text;

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
