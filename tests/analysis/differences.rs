//! Compares two sets of findings; what differs needs a reason in `differences.yaml`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

/// Messages by (code, object). [`Comparison::add`] leaves out codes of our own.
pub type Reported = BTreeMap<(String, String), String>;

/// Differences that are meant.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reason {
    /// Who alone tells it: `istio` or `sailhand`.
    only: String,
    code: String,
    /// In which comparisons it occurs; each of them has to need it.
    seen: Vec<String>,
    /// In which others it may occur: what istioctl tells there is not the same each time.
    #[serde(default)]
    at_times: Vec<String>,
    /// What the object looks like: `VirtualService *`.
    #[serde(default = "anything")]
    object: String,
    /// What the message looks like.
    #[serde(default = "anything")]
    message: String,
    because: String,
}

fn anything() -> String {
    "*".to_owned()
}

/// All comparisons of one kind.
pub struct Comparison {
    place: &'static str,
    reasons: Vec<Reason>,
    used: BTreeSet<usize>,
    agreed: usize,
    unexplained: Vec<String>,
}

impl Comparison {
    pub fn of(place: &'static str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/analysis/differences.yaml");
        let text = std::fs::read_to_string(path).unwrap();
        let mut reasons: Vec<Reason> = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
        assert!(reasons.iter().all(|reason| reason.because.len() > 20), "a difference needs a reason");
        reasons.retain(|reason| reason.seen.iter().chain(&reason.at_times).any(|seen| seen == place));
        Self { place, reasons, used: BTreeSet::new(), agreed: 0, unexplained: Vec::new() }
    }

    pub fn add(&mut self, name: &str, ours: &Reported, theirs: &Reported) {
        let ours: Reported = ours.iter().filter(|(key, _)| key.0.starts_with("IST")).map(clone).collect();
        self.agreed += ours.keys().filter(|key| theirs.contains_key(*key)).count();
        for (only, told, other) in [("istio", theirs, &ours), ("sailhand", &ours, theirs)] {
            for ((code, object), message) in told.iter().filter(|(key, _)| !other.contains_key(*key)) {
                let explains = |reason: &Reason| {
                    reason.only == only
                        && reason.code == *code
                        && matches(&reason.object, object)
                        && matches(&reason.message, message)
                };
                match self.reasons.iter().position(explains) {
                    Some(index) => drop(self.used.insert(index)),
                    None => self.unexplained.push(format!("{name}: only {only} tells {code} {object}: {message}")),
                }
            }
        }
    }

    /// Fails for what nobody explains, and for explanations of nothing.
    pub fn judge(self) {
        let is_due = |reason: &Reason| reason.seen.iter().any(|seen| seen == self.place);
        let unused: Vec<_> = (0..)
            .zip(&self.reasons)
            .filter(|(index, reason)| is_due(reason) && !self.used.contains(index))
            .map(|(_, reason)| reason)
            .collect();
        assert!(self.agreed > 10, "{}: only {} findings of both", self.place, self.agreed);
        assert!(
            self.unexplained.is_empty() && unused.is_empty(),
            "{}: {} agree, {} differ without a reason in differences.yaml:\n{}\nreasons that explain nothing: {unused:#?}",
            self.place,
            self.agreed,
            self.unexplained.len(),
            self.unexplained.join("\n")
        );
    }
}

fn clone((key, message): (&(String, String), &String)) -> ((String, String), String) {
    (key.clone(), message.clone())
}

/// `*` stands for any text, and `\*` for itself.
fn matches(pattern: &str, text: &str) -> bool {
    let (star, any) = ("\u{1}", "*");
    glob(&pattern.replace("\\*", star), &text.replace(any, star))
}

fn glob(pattern: &str, text: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == text };
    let Some(rest) = text.strip_prefix(before) else { return false };
    (0..=rest.len()).any(|at| rest.is_char_boundary(at) && glob(after, &rest[at..]))
}
