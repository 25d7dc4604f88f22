//! Configurations as people run them, each put into the mesh of `analysis/mesh.yaml`: those in `good/` are right, and
//! nothing worse than a remark is told about them; those in `mistakes/` have something wrong, and the codes in their first
//! line are told.

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use sailhand::analysis::source::{self, Sources};
use sailhand::analysis::{Finding, Level, Snapshot, mesh, rules, run};

/// 2027-01-15: the certificates in the files are valid then.
const NOW: i64 = 1_800_000_000;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/analysis").join(name)
}

/// Files with their texts, by name.
fn configurations(name: &str) -> Vec<(String, String)> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 30, "{name} has {} files", files.len());
    files.iter().map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap())).collect()
}

/// What is found in the mesh with a configuration in it.
fn found(configuration: &str) -> Vec<Finding> {
    let mut sources = Sources::default();
    sources.add("mesh.yaml", fs::read_to_string(folder("mesh.yaml")).unwrap());
    sources.add("configuration.yaml", configuration.to_owned());
    let one = NonZero::<usize>::MIN;
    let reading = source::read(&sources, one);
    assert!(reading.errors.is_empty(), "{:?}", reading.errors);
    let settings = mesh::settings_in(&reading.resources, NOW);
    run(&Snapshot::new(reading.resources, settings), rules::ALL, one)
}

#[test]
fn what_is_right_is_at_most_remarked_upon() {
    let mut told = Vec::new();
    for (name, text) in configurations("good") {
        let worse = found(&text).into_iter().filter(|finding| finding.level > Level::Info);
        told.extend(worse.map(|it| format!("{name}: {}[{}] {}: {}", it.level, it.code.id, it.object, it.message)));
    }
    assert!(told.is_empty(), "{told:#?}");
}

#[test]
fn what_is_wrong_is_told() {
    let usual: BTreeSet<String> = found("").into_iter().map(|finding| finding.fingerprint).collect();
    let mut missing = Vec::new();
    for (name, text) in configurations("mistakes") {
        let expected = text.lines().next().unwrap().strip_prefix("# finds: ").unwrap_or_else(|| panic!("{name}"));
        let told: BTreeSet<&str> =
            found(&text).iter().filter(|it| !usual.contains(&it.fingerprint)).map(|it| it.code.id).collect();
        let absent = expected.split(' ').filter(|code| !told.contains(code));
        missing.extend(absent.map(|code| format!("{name}: {code} is not told")));
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
