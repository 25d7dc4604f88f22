//! Correct objects, and objects with one mistake, by kind: `analysis/validation/*.yaml`. Exactly the findings of the
//! schema rules listed there are expected, with code and field.

use crate::validation_cases as cases;

use cases::{Case, cases};

#[test]
fn each_object_has_exactly_its_expected_findings() {
    let cases = cases();
    assert!(cases.iter().filter(|case| case.good).count() > 30 && cases.len() > 200, "{}", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let mut expected = case.finds.clone();
        expected.sort();
        let mut found: Vec<String> = case.found().iter().map(|(finding, _)| finding.clone()).collect();
        found.sort();
        if found != expected {
            wrong.push(format!("{}: expected {expected:?}\n  found {:?}", case.id(), case.found()));
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

/// Lines are found by field, so each field must exist in the object, or be missing from an existing parent.
#[test]
fn each_finding_has_an_existing_or_missing_field() {
    for case in cases() {
        for (finding, message) in case.found() {
            let field = finding.split_once(' ').map_or("", |(_, field)| field);
            assert!(
                field == "metadata.name" || case.has_or_could_have(field),
                "{}: {finding}: {message}",
                Case::id(&case)
            );
        }
    }
}
