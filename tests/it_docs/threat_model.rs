//! docs/threat-model.md names a test for each promise; the tests exist.

use std::fs;
use std::path::Path;

/// Files and functions in the last cell of the rows of all tables.
fn named_tests(page: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for row in page.lines().filter(|line| line.starts_with('|')) {
        let cell = row.trim_end_matches('|').rsplit(" | ").next().unwrap_or_default();
        let mut file = String::new();
        for word in cell.split('`').skip(1).step_by(2) {
            if Path::new(word).extension().is_some_and(|extension| extension == "rs") {
                let is_test = !word.starts_with("src/") && !word.starts_with("crates/");
                file = if is_test { format!("tests/{word}") } else { word.to_owned() };
            } else if !file.is_empty() {
                found.push((file.clone(), word.to_owned()));
            }
        }
    }
    found
}

#[test]
fn tests_of_the_threat_model_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/threat-model.md")).unwrap();
    let named = named_tests(&page);
    assert!(named.len() > 60, "{}", named.len());
    for (file, test) in named {
        let source = fs::read_to_string(root.join(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(source.contains(&format!("fn {test}(")), "{file} has no test {test}");
    }
}
