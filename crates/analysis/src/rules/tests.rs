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
            crate::Check::Each(kinds, _) | crate::Check::Text(kinds, _) | crate::Check::Namespaces(kinds, _) => kinds,
            crate::Check::Once(_) => &[],
        };
        assert!(
            kinds.iter().all(|kind| rule.inputs.contains(kind)),
            "{}: uses a kind that is not among its inputs",
            rule.name
        );
    }
}

/// Phrases that docs/style.md replaces, with what to write instead.
fn replaced_words() -> Vec<(String, &'static str)> {
    let lines = include_str!("../../../../tests/prose/words.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('\t')).map(|(phrase, instead)| (plain(phrase), instead)).collect()
}

/// Lower case, with one space for everything between words, and one at either end.
fn plain(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let text: String = words.flat_map(|word| [" ", word]).collect();
    (text.to_lowercase() + " ").replace(" no longer ", " nolonger ")
}

#[test]
fn texts_of_rules_and_errors_use_standard_words() {
    let mut texts: Vec<(&str, String)> = Vec::new();
    for code in codes() {
        texts.extend([code.title, code.why, code.remedy].map(|text| (code.id, text.to_owned())));
        texts.extend(messages(code.example.before, code.id).into_iter().map(|message| (code.id, message)));
    }
    for code in sailhand_base::error::Code::ALL {
        texts.extend([code.title(), code.remedy()].map(|text| (code.as_str(), text.to_owned())));
    }
    let words = replaced_words();
    let mut wrong = Vec::new();
    for (code, text) in &texts {
        let plain = plain(text);
        let found = words.iter().filter(|(phrase, _)| plain.contains(phrase));
        wrong.extend(found.map(|(phrase, instead)| format!("{code}: {text:?}:{phrase}→ {instead}")));
    }
    assert!(words.len() > 50 && wrong.is_empty(), "see docs/style.md: {wrong:#?}");
}
