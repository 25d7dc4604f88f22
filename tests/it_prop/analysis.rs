//! Properties of the analysis: neither the order of the input nor how many threads there are nor what has nothing to do
//! with it changes what is found.

use std::fmt::Write as _;
use std::num::NonZero;

use proptest::prelude::*;
use sailhand::analysis::source::{self, Sources};
use sailhand::analysis::{Settings, Snapshot, rules, run};

/// 2026-01-01.
const NOW: i64 = 1_767_225_600;

/// All examples of all codes, each in namespaces of its own so that they do not meet.
fn documents() -> Vec<String> {
    let mut documents = Vec::new();
    for code in rules::codes() {
        documents.extend(code.example.before.split("---\n").filter(|text| !text.trim().is_empty()).map(str::to_owned));
    }
    documents
}

/// Findings as text: code, level, object, field, message, fingerprint.
fn found(documents: &[String], threads: usize) -> Vec<String> {
    let mut sources = Sources::default();
    for (number, document) in documents.iter().enumerate() {
        sources.add(format!("{number}.yaml"), document.clone());
    }
    let threads = NonZero::new(threads).unwrap();
    let reading = source::read(&sources, threads);
    let snapshot = Snapshot::new(reading.resources, Settings { now: NOW, ..Settings::default() });
    run(&snapshot, rules::ALL, threads)
        .iter()
        .map(|one| {
            let mut text = format!("{} {} {} {}", one.code.id, one.level, one.object, one.field);
            write!(text, " {} {}", one.message, one.fingerprint).unwrap();
            text
        })
        .collect()
}

/// One document for each name: of two with one name the later stays, which the order must then decide.
fn distinct(documents: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    let name = |text: &str| {
        let mut sources = Sources::default();
        sources.add("one", text.to_owned());
        let reading = source::read(&sources, NonZero::<usize>::MIN);
        reading.resources.iter().map(|one| format!("{:?} {one}", one.kind)).collect::<Vec<_>>()
    };
    documents.into_iter().filter(|text| name(text).into_iter().all(|name| seen.insert(name))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn order_and_threads_do_not_matter(
        documents in Just(distinct(documents())).prop_shuffle(),
        threads in 1_usize..5,
    ) {
        prop_assert_eq!(found(&documents, threads), found(&distinct(self::documents()), 1));
    }

    #[test]
    fn a_quiet_namespace_apart_changes_nothing(names in prop::collection::btree_set("[a-z]{8}", 1..4)) {
        let documents = distinct(documents());
        let mut more = documents.clone();
        for name in &names {
            more.push(format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings, namespace: apart-{name}}}\ndata: {{a: b}}\n"
            ));
            more.push(format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, namespace: apart-{name}}}\n"));
        }
        prop_assert_eq!(found(&more, 2), found(&documents, 2));
    }
}

#[test]
fn the_examples_have_findings() {
    let documents = distinct(documents());
    let found = found(&documents, 2);
    assert!(found.len() > 50, "{found:#?}");
}
