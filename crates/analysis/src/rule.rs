//! What a rule is: its name, what it reads, what it can report, and a function. Knows no rule.

use super::{Code, Findings, Kind, Resource, View};

/// One rule. A file below `rules/` holds one as a `static`; `rules::ALL` lists them.
#[derive(Debug)]
pub struct Rule {
    /// The name of istioctl's analyzer where there is one, such as `destinationrule.CaCertificateAnalyzer`.
    pub name: &'static str,
    /// What it can report.
    pub codes: &'static [&'static Code],
    /// The kinds it reads, all of them: only these are fetched from a cluster for it. [`View`] refuses others in
    /// debug builds.
    pub reads: &'static [Kind],
    /// What it does.
    pub check: Check,
}

/// How a rule is called. Whatever it is called for, it may look at all that [`View`] gives. The smaller the calls, the
/// fewer of them have to be made again after a change.
#[derive(Clone, Copy)]
pub enum Check {
    /// Once for each object of these kinds.
    Each(&'static [Kind], fn(&View<'_>, &Resource, &mut Findings)),
    /// Once for each namespace in which there is an object of these kinds.
    Namespaces(&'static [Kind], fn(&View<'_>, &str, &mut Findings)),
    /// Once. For what cannot be told by object or namespace; costs the most after a change.
    Once(fn(&View<'_>, &mut Findings)),
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Each(kinds, _) => f.debug_tuple("Each").field(kinds).finish(),
            Self::Namespaces(kinds, _) => f.debug_tuple("Namespaces").field(kinds).finish(),
            Self::Once(_) => f.write_str("Once"),
        }
    }
}
