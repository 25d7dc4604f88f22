//! Each dependency that a manifest of the workspace names is used by that package. What cargo-machete does, without
//! another program.

use std::fs;
use std::path::Path;

/// Packages whose library has another name.
const LIBRARIES: &[(&str, &str)] = &[("cloudevents_sdk", "cloudevents")];

/// Names of the crates under `[dependencies]` or `[dev-dependencies]`, as code writes them.
fn dependencies(manifest: &str, section: &str) -> Vec<String> {
    let lines = manifest.lines().skip_while(|line| *line != format!("[{section}]")).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    let names =
        lines.filter(|line| !line.starts_with(['#', ' '])).filter_map(|line| line.split(['=', '.', ' ']).next());
    names.filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

/// The text of all Rust files below some folders of a package.
fn code(package: &Path, folders: &[&str]) -> String {
    fn read(folder: &Path, into: &mut String) {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                into.push_str(&fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut text = String::new();
    for folder in folders {
        read(&package.join(folder), &mut text);
    }
    text
}

fn is_used(code: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name).any(|(at, _)| {
        let after = &code[at + name.len()..];
        !code[..at].ends_with(is_word)
            && (after.starts_with("::") || after.starts_with(';') || after.starts_with(" as "))
    })
}

/// Names of dependencies of a package that its code does not mention.
fn unused(package: &Path) -> Vec<String> {
    let manifest = fs::read_to_string(package.join("Cargo.toml")).unwrap();
    let product = code(package, &["src"]);
    let tests = product.clone() + &code(package, &["tests", "benches"]);
    let mut found = Vec::new();
    for (section, code) in [("dependencies", &product), ("dev-dependencies", &tests)] {
        let names = dependencies(&manifest, section).into_iter();
        let library = |name: &str| LIBRARIES.iter().find(|(package, _)| *package == name).map(|(_, library)| *library);
        found.extend(names.filter(|name| !is_used(code, library(name).unwrap_or(name))));
    }
    found
}

#[test]
fn every_dependency_is_used() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut packages = vec![root.to_owned()];
    packages.extend(fs::read_dir(root.join("crates")).unwrap().map(|entry| entry.unwrap().path()));
    assert!(packages.len() > 3);
    for package in packages {
        let unused = unused(&package);
        assert!(unused.is_empty(), "{}: nothing uses {unused:?}", package.display());
    }
}

#[test]
fn unused_dependencies_are_found() {
    let manifest = "[dependencies]\n# A comment.\nserde_json = \"1\"\nasync-nats = { version = \"1\" }\nserde.workspace = true\n\n[lints]\nx = 1\n";
    assert_eq!(dependencies(manifest, "dependencies"), ["serde_json", "async_nats", "serde"]);
    let code = "use serde_json::Value; // my_serde::x\nuse async_nats as nats;";
    assert!(is_used(code, "serde_json") && is_used(code, "async_nats") && !is_used(code, "serde"));
}
