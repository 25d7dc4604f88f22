//! Codes of findings: severity and documentation. Data only; each code is declared beside the rules that report it.

use std::fmt;

/// Severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Information, or a best practice that is not followed.
    Info,
    /// Probably a mistake, or a risk.
    Warning,
    /// The configuration does not work as written.
    Error,
}

impl Level {
    /// The word used in outputs: `info`, `warning` or `error`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A code with its documentation. `IST…` codes have the number and meaning of `istioctl analyze`; `SH7…` codes are
/// sailhand's own.
#[derive(Debug)]
pub struct Code {
    /// Such as `IST0128`. Never renumbered and never reused.
    pub id: &'static str,
    /// Identifier, such as `NoServerCertificateVerificationDestinationLevel`.
    pub name: &'static str,
    /// Default severity; a finding may have another one.
    pub level: Level,
    /// The defect in one phrase without a full stop, with its kind and field. It must make sense without the rest.
    pub title: &'static str,
    /// The effect on traffic or operation, in one to three sentences.
    pub why: &'static str,
    /// A change that fixes it, in one to three sentences.
    pub remedy: &'static str,
    /// URL of the documentation or source code from which the rule is derived.
    pub source: &'static str,
    /// A minimal example, which the tests run.
    pub example: Example,
    /// Equivalent checks of other tools, such as `KIA0202` of Kiali or `istio-vet applabel`. Codes of istioctl have the
    /// same id and are not listed.
    pub also: &'static [&'static str],
}

/// Manifests of an example, as short as possible.
#[derive(Debug)]
pub struct Example {
    /// YAML for which the code is reported.
    pub before: &'static str,
    /// The fixed YAML, for which the code is not reported.
    pub after: &'static str,
}

impl Code {
    /// Documentation URL: the code's page at istio.io for `IST…`, [`Code::source`] for the others.
    #[must_use]
    pub fn url(&self) -> String {
        if self.id.starts_with("IST") {
            format!("https://istio.io/latest/docs/reference/config/analysis/{}/", self.id.to_lowercase())
        } else {
            self.source.to_owned()
        }
    }
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Code {}
