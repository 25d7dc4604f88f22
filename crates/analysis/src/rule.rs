//! The type of a rule: its name, inputs, codes and function. Contains no rule.

use super::{Code, Findings, Kind, Resource, View};

/// One rule. A file below `rules/` declares one as a `static`; `rules::ALL` lists them.
#[derive(Debug)]
pub struct Rule {
    /// Name; that of istioctl's analyzer if there is one, such as `destinationrule.CaCertificateAnalyzer`.
    pub name: &'static str,
    /// Codes that it can report.
    pub codes: &'static [&'static Code],
    /// Kinds that it uses, completely: only these are fetched from a cluster. In debug builds [`View`] panics for
    /// others.
    pub inputs: &'static [Kind],
    /// The function.
    pub check: Check,
}

impl Rule {
    /// Whether the rule checks how a manifest is written. Objects of a cluster have no text, so nothing is fetched for
    /// such a rule.
    #[must_use]
    pub const fn is_about_text(&self) -> bool {
        matches!(self.check, Check::Text(..))
    }
}

/// How often a rule is called. A call may query anything in its [`View`]. The narrower the call, the fewer calls are
/// repeated after a change.
#[derive(Clone, Copy)]
pub enum Check {
    /// Once for each object of these kinds.
    Each(&'static [Kind], fn(&View<'_>, &Resource, &mut Findings)),
    /// The same, for a rule that checks how the manifest of the object is written.
    Text(&'static [Kind], fn(&View<'_>, &Resource, &mut Findings)),
    /// Once for each namespace with an object of these kinds.
    Namespaces(&'static [Kind], fn(&View<'_>, &str, &mut Findings)),
    /// Once for the whole snapshot. Any change of an input repeats it, so use it only if the rule cannot be split.
    Once(fn(&View<'_>, &mut Findings)),
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Each(kinds, _) => f.debug_tuple("Each").field(kinds).finish(),
            Self::Text(kinds, _) => f.debug_tuple("Text").field(kinds).finish(),
            Self::Namespaces(kinds, _) => f.debug_tuple("Namespaces").field(kinds).finish(),
            Self::Once(_) => f.write_str("Once"),
        }
    }
}
