//! The filter of `--codes`: codes, or rules by name.

use sailhand_analysis::{Code, Finding, Rule, rules};

use crate::{Error, explain};

/// The codes and rules that `--codes` names. Without any, every code passes that is enabled by default.
#[derive(Debug)]
pub struct Filter {
    codes: Vec<&'static Code>,
    rules: Vec<&'static Rule>,
}

impl Filter {
    /// Resolves words of `--codes`: ids of codes or names of rules, in any case.
    ///
    /// # Errors
    /// [`Error::Argument`] for a word that is neither.
    pub fn new(asked: &[String]) -> Result<Self, Error> {
        let mut filter = Self { codes: Vec::new(), rules: Vec::new() };
        let codes = rules::codes();
        for name in asked {
            if let Some(code) = codes.iter().find(|code| code.id.eq_ignore_ascii_case(name)) {
                filter.codes.push(code);
            } else if let Some(rule) = rules::ALL.iter().find(|rule| rule.name.eq_ignore_ascii_case(name)) {
                filter.rules.push(rule);
            } else {
                let names = codes.iter().map(|code| code.id).chain(rules::ALL.iter().map(|rule| rule.name));
                return Err(Error::argument(format!("--codes {name}"), explain::unknown("code or rule", name, names)));
            }
        }
        Ok(filter)
    }

    fn is_open(&self) -> bool {
        self.codes.is_empty() && self.rules.is_empty()
    }

    /// Rules that can report one of the codes.
    #[must_use]
    pub fn rules(&self) -> Vec<&'static Rule> {
        let asked = |rule: &&'static Rule| {
            self.is_open()
                || self.rules.iter().any(|one| one.name == rule.name)
                || rule.codes.iter().any(|code| self.codes.contains(code))
        };
        rules::ALL.iter().copied().filter(asked).collect()
    }

    /// Whether the code of a finding is one of the codes.
    #[must_use]
    pub fn allows(&self, finding: &Finding) -> bool {
        (self.is_open() && rules::is_enabled_by_default(finding.code))
            || self.codes.contains(&finding.code)
            || self.rules.iter().any(|rule| rule.codes.contains(&finding.code))
    }
}
