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
    text: String,
    code: String,
    object: String,
}

impl Suppressions {
    /// Adds a pattern: `IST0102`, `IST0102=Namespace *`, `*=* legacy/*`. The form of istioctl, `Kind name.namespace`, is
    /// understood too.
    pub fn add_pattern(&mut self, text: &str) {
        let (code, object) = text.split_once('=').unwrap_or((text, "*"));
        self.patterns.push(Pattern {
            text: text.to_owned(),
            code: code.trim().to_owned(),
            object: object.trim().to_owned(),
        });
    }

    /// Adds a baseline: each line starts with a fingerprint; lines with `#` are comments.
    ///
    /// # Errors
    /// The number of the first line, from 1, that does not begin with a fingerprint; nothing was added then.
    pub fn add_baseline(&mut self, text: &str) -> Result<(), usize> {
        let mut fingerprints = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let Some(first) = line.split_whitespace().next().filter(|_| !line.starts_with('#')) else { continue };
            if !is_fingerprint(first) {
                return Err(number);
            }
            fingerprints.push(first.to_owned());
        }
        self.baseline.extend(fingerprints);
        Ok(())
    }

    /// Unused suppressions: the patterns, and how many lines of the baselines.
    #[must_use]
    pub fn unmatched(&self, findings: &[Finding]) -> (Vec<&str>, usize) {
        let is_used = |pattern: &&Pattern| !findings.iter().any(|finding| pattern.covers(finding));
        let patterns = self.patterns.iter().filter(is_used).map(|pattern| pattern.text.as_str()).collect();
        let there: BTreeSet<&str> = findings.iter().map(|finding| finding.fingerprint.as_str()).collect();
        (patterns, self.baseline.iter().filter(|line| !there.contains(line.as_str())).count())
    }

    /// How many lines the baselines have.
    #[must_use]
    pub fn baseline_length(&self) -> usize {
        self.baseline.len()
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
            || self.patterns.iter().any(|pattern| pattern.covers(finding))
    }
}

impl Pattern {
    fn covers(&self, finding: &Finding) -> bool {
        let object = &finding.object;
        matches(&self.code, finding.code.id)
            && (matches(&self.object, &object.to_string())
                || matches(&self.object, &format!("{} {}.{}", object.kind_name(), object.name, object.namespace)))
    }
}

/// 16 hexadecimal digits, and a number where several findings are alike.
fn is_fingerprint(text: &str) -> bool {
    let (digits, count) = text.split_once('-').unwrap_or((text, "1"));
    digits.len() == 16 && digits.bytes().all(|c| c.is_ascii_hexdigit()) && count.bytes().all(|c| c.is_ascii_digit())
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
