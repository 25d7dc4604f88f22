//! What a finding's code stands for: its level and its page of documentation. Data only; the codes stand beside the
//! rules that report them.

use std::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Worth knowing.
    Info,
    /// Probably not what was meant, or worse than it could be.
    Warning,
    /// Does not work, or not as it says.
    Error,
}

impl Level {
    /// The word in outputs.
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

/// A code with its documentation. `IST…` codes have the number and meaning of `istioctl analyze`; ours are `SH7…`.
#[derive(Debug)]
pub struct Code {
    /// Such as `IST0128`. Never renumbered, never reused.
    pub id: &'static str,
    /// A name in one word, such as `NoServerCertificateVerificationDestinationLevel`.
    pub name: &'static str,
    /// How bad it usually is.
    pub level: Level,
    /// What is the matter, in one sentence without a full stop.
    pub title: &'static str,
    /// Why it matters, in one to three sentences.
    pub why: &'static str,
    /// What to do, in one to three sentences.
    pub remedy: &'static str,
    /// Where it is said: a URL.
    pub source: &'static str,
    /// A small case, which the tests run.
    pub example: Example,
    /// Who else reports it, such as `KIA0202` of Kiali or `istio-vet applabel`. That istioctl does follows from the id.
    pub also: &'static [&'static str],
}

/// Manifests as short as they can be.
#[derive(Debug)]
pub struct Example {
    /// YAML for which the code is reported.
    pub before: &'static str,
    /// The same after mending: the code is not reported.
    pub after: &'static str,
}

impl Code {
    /// A page that explains it: the code's page at istio.io, or the source of ours.
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
