//! Checks that each rule is listed once and each code is documented, and runs the example of each code.

use std::collections::BTreeSet;
use std::num::NonZero;

use super::*;
use crate::source::{self, Sources};
use crate::{Finding, Snapshot, mesh, run};

/// Current time for the examples: 2026-01-01.
const NOW: i64 = 1_767_225_600;

/// Codes that all rules report for these manifests.
pub(crate) fn reported(text: &str) -> BTreeSet<&'static str> {
    found(text).iter().map(|finding| finding.code.id).collect()
}

/// Messages of one code for these manifests.
pub(crate) fn messages(text: &str, code: &str) -> Vec<String> {
    found(text).into_iter().filter(|finding| finding.code.id == code).map(|finding| finding.message).collect()
}

/// Findings of all rules for these manifests. Documents after a line `# cluster: x` belong to that cluster.
pub(crate) fn found(text: &str) -> Vec<Finding> {
    let one = NonZero::<usize>::MIN;
    let mut resources = Vec::new();
    for part in text.split("# cluster: ") {
        let mut sources = Sources::default();
        let is_of_cluster = text.contains("# cluster: ");
        let (cluster, manifests) = if is_of_cluster { part.split_once('\n').unwrap_or_default() } else { ("", part) };
        sources.add("example.yaml", manifests.to_owned());
        let mut reading = source::read(&sources, one);
        assert!(reading.errors.is_empty(), "{:?}", reading.errors);
        reading.resources.iter_mut().for_each(|resource| resource.cluster = cluster.into());
        resources.extend(reading.resources);
    }
    let settings = mesh::settings_in(&resources, NOW);
    let snapshot = Snapshot::new(resources, settings);
    run(&snapshot, ALL, one)
}

#[test]
fn each_example_reports_its_code_and_the_fix_does_not() {
    let mut wrong = Vec::new();
    for code in codes() {
        if !reported(code.example.before).contains(code.id) {
            wrong.push(format!("{}: not reported for the example before", code.id));
        }
        if reported(code.example.after).contains(code.id) {
            wrong.push(format!("{}: still reported for the example after", code.id));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_code_is_unique_and_documented() {
    let mut seen = BTreeSet::new();
    for code in codes() {
        assert!(seen.insert(code.id), "{} is defined twice", code.id);
        assert!(code.source.starts_with("https://"), "{}: source", code.id);
        for (part, text) in [("title", code.title), ("why", code.why), ("remedy", code.remedy), ("name", code.name)] {
            assert!(!text.is_empty(), "{}: no {part}", code.id);
        }
        assert!(!code.title.ends_with('.'), "{}: the title must be a phrase without a full stop", code.id);
        assert!(
            code.why.ends_with('.') && code.remedy.ends_with('.'),
            "{}: why and remedy must end with a full stop",
            code.id
        );
    }
}

#[test]
fn each_rule_is_unique_and_declares_its_inputs() {
    let mut seen = BTreeSet::new();
    for rule in ALL {
        assert!(seen.insert(rule.name), "{} is listed twice", rule.name);
        let kinds = match rule.check {
            crate::Check::Each(kinds, _) | crate::Check::Namespaces(kinds, _) => kinds,
            crate::Check::Once(_) => &[],
        };
        assert!(
            kinds.iter().all(|kind| rule.reads.contains(kind)),
            "{}: uses a kind that is not among its inputs",
            rule.name
        );
    }
}
