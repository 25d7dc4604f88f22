//! Objects that are right, and objects with one thing wrong, by kind: `analysis/validation/*.yaml`. Each finding of the
//! schema rules is expected with its code and field, and no other.

use crate::validation_cases as cases;

use cases::{Case, cases};

#[test]
fn each_object_has_the_findings_that_it_says_and_no_others() {
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

/// Fields are where lines are looked up, so each has to be in the object or to be missing from a part that is.
#[test]
fn each_finding_names_a_field_that_is_there_or_could_be() {
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
