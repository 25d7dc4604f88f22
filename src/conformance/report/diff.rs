//! Compares two reports, case by case and specification by specification.

use std::collections::BTreeMap;

use super::super::model::RunReport;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Case id or key of a specification.
    pub what: String,
    /// In the first report; `absent` where it is not.
    pub before: String,
    /// In the second.
    pub after: String,
    /// Whether something that passed does not any more.
    pub is_regression: bool,
}

/// The differences, ordered by id.
#[must_use]
pub fn compare(before: &RunReport, after: &RunReport) -> Vec<Difference> {
    let (old, new) = (states(before), states(after));
    let names: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let state =
        |states: &BTreeMap<String, String>, name: &str| states.get(name).cloned().unwrap_or("absent".to_owned());
    names
        .into_iter()
        .map(|name| (name, state(&old, name), state(&new, name)))
        .filter(|(_, before, after)| before != after)
        .map(|(name, before, after)| {
            let good = |state: &str| state == "passed" || state.ends_with("/pass");
            Difference { what: name.clone(), is_regression: good(&before) && !good(&after), before, after }
        })
        .collect()
}

fn states(report: &RunReport) -> BTreeMap<String, String> {
    let cases = report.cases.iter().map(|case| (case.case_id.clone(), case.status.as_str().to_owned()));
    cases.chain(report.summary.conformance.clone()).collect()
}
