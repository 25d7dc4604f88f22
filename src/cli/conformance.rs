//! `sailhand conformance`: runs a suite and renders its report, compares two reports, lists cases.

use super::output::{BAD, CHANGED, GOOD, QUIET, STRONG, styled};
use crate::conformance::model::{CaseResult, Compliance, SpecResult, Status};

/// A case, in one line.
pub(super) fn case_line(case: &CaseResult) -> String {
    let (sign, style) = match case.status {
        Status::Passed => ("✔", GOOD),
        Status::Failed => ("✖", BAD),
        Status::Error => ("!", BAD),
        Status::NotSupported | Status::Skipped => ("–", QUIET),
    };
    let text = if case.message.is_empty() { case.title.as_str() } else { case.message.as_str() };
    format!("{} {:<10} {text}", styled(style, sign), case.case_id)
}

/// The verdict on a specification, in one line.
pub(super) fn spec_line(spec: &SpecResult) -> String {
    let style = match spec.compliance {
        Compliance::Pass => GOOD,
        Compliance::Fail => BAD,
        Compliance::NotApplicable => CHANGED,
    };
    let verdict = format!("capability {}, compliance {}", spec.capability.as_str(), spec.compliance.as_str());
    format!(
        "{}: {} ({} of {} cases passed)",
        styled(STRONG, &spec.title),
        styled(style, verdict),
        spec.counts.passed,
        spec.counts.total
    )
}
