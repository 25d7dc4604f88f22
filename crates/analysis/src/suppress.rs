//! Suppresses accepted findings: by annotation on the object, by pattern, or by a baseline of earlier findings.

use std::collections::BTreeSet;

use super::{Finding, Resource};

/// Annotation with the codes that are suppressed for an object, separated by commas, or `*` for all.
const ANNOTATION: &str = "galley.istio.io/analyze-suppress";

/// Whether an annotation of the object suppresses a code.
pub(super) fn is_suppressed_by(resource: &Resource, code: &str) -> bool {
    resource.annotation(ANNOTATION).is_some_and(|codes| {
        let mut codes = codes.split(',').map(str::trim);
        codes.any(|listed| listed == "*" || listed == code)
    })
}

/// Findings to suppress.
#[derive(Debug, Default)]
pub struct Suppressions {
    patterns: Vec<Pattern>,
    baseline: BTreeSet<String>,
}

/// Pattern `CODE`, or `CODE=Kind namespace/name`; `*` matches anything in both.
#[derive(Debug)]
struct Pattern {
    code: String,
    object: String,
}

impl Suppressions {
    /// Adds a pattern: `IST0102`, `IST0102=Namespace *`, `*=* legacy/*`.
    pub fn add_pattern(&mut self, text: &str) {
        let (code, object) = text.split_once('=').unwrap_or((text, "*"));
        self.patterns.push(Pattern { code: code.trim().to_owned(), object: object.trim().to_owned() });
    }

    /// Adds a baseline: each line starts with a fingerprint; lines with `#` are comments.
    pub fn add_baseline(&mut self, text: &str) {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        self.baseline.extend(lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned));
    }

    /// Removes suppressed findings and returns their number.
    pub fn apply(&self, findings: &mut Vec<Finding>) -> usize {
        let before = findings.len();
        findings.retain(|finding| !self.covers(finding));
        before - findings.len()
    }

    /// Whether a finding is suppressed.
    #[must_use]
    pub fn covers(&self, finding: &Finding) -> bool {
        finding.suppressed
            || self.baseline.contains(&finding.fingerprint)
            || self.patterns.iter().any(|pattern| {
                matches(&pattern.code, finding.code.id) && matches(&pattern.object, &finding.object.to_string())
            })
    }
}

/// Formats findings as a baseline.
#[must_use]
pub fn baseline(findings: &[Finding]) -> String {
    let mut text = "# Accepted findings: `sailhand analyze --baseline` does not report them again.\n".to_owned();
    for finding in findings {
        text = text + &finding.fingerprint + "  " + finding.code.id + "  " + &finding.object.to_string() + "\n";
    }
    text
}

/// Whether a text matches a pattern in which `*` matches any text, including none.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let (middle, tail) = rest.rsplit_once('*').map_or(("", rest), |(middle, tail)| (middle, tail));
    for part in middle.split('*').filter(|part| !part.is_empty()) {
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.len() >= tail.len() && text.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcard_matches_anywhere() {
        for (pattern, text, wanted) in [
            ("*", "anything", true),
            ("IST0101", "IST0101", true),
            ("IST0101", "IST01012", false),
            ("Pod shop/*", "Pod shop/a", true),
            ("Pod shop/*", "Pod shops/a", false),
            ("* shop/a", "Pod shop/a", true),
            ("*shop*a*", "Pod shop/a", true),
            ("*b*b", "Pod b", false),
            ("P*d*", "Pd", true),
        ] {
            assert_eq!(matches(pattern, text), wanted, "{pattern} {text}");
        }
    }
}
