//! Runs the cases of Istio's own test table, as `../shared/analysis/README.md` describes them: the same codes for the
//! same objects. The files are beside the checkout (`SAILHAND_SHARED`, by default `../shared`). If they are missing,
//! the output states it, and the test fails in CI.
#![allow(clippy::disallowed_methods, clippy::print_stderr, reason = "where the cases lie is told by the environment")]

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Command;

use sailhand::analysis::source::{self, Sources, files, read_value};
use sailhand::analysis::{Kind, Settings, Snapshot, rules, run};
use sailhand::clock::Clock;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    id: String,
    input_files: Vec<PathBuf>,
    mesh_config_file: Option<PathBuf>,
    mesh_networks_file: Option<PathBuf>,
    analyzer: String,
    inputs: Vec<String>,
    expected: Vec<Expected>,
}

#[derive(Debug, Deserialize)]
struct Expected {
    code: String,
    resource: String,
}

/// None if the cases are missing and are not required.
fn folder() -> Option<PathBuf> {
    let given = std::env::var_os("SAILHAND_SHARED").map(PathBuf::from);
    let folder = given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared")).join("analysis");
    if folder.join("cases.json").exists() {
        return Some(folder);
    }
    assert!(std::env::var_os("CI").is_none(), "{} is missing", folder.display());
    eprintln!("NOT RUN: {} is missing", folder.display());
    None
}

fn found(folder: &Path, case: &Case) -> Vec<String> {
    let text = |path: &Path| {
        fs::read_to_string(folder.join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let one = NonZero::<usize>::MIN;
    let mut sources = Sources::default();
    let mut errors = Vec::new();
    for file in &case.input_files {
        files::read(&folder.join(file), &mut sources, &mut errors);
    }
    let mesh_config = case.mesh_config_file.as_ref().map(|file| read_value("mesh config", &text(file)).unwrap());
    let mesh_networks = case.mesh_networks_file.as_ref().map(|file| read_value("mesh networks", &text(file)).unwrap());
    if !has_no_ingress(folder, case) {
        sources.add("defaults", text(Path::new("defaults/istio-ingressgateway.yaml")));
    }
    let mut reading = source::read(&sources, one);
    assert!(reading.errors.is_empty() && errors.is_empty(), "{}: {:?} {errors:?}", case.id, reading.errors);
    let kinds: BTreeSet<Kind> = case
        .inputs
        .iter()
        .map(|input| {
            let (group, kind) = input.split_once('/').unwrap_or(("", input));
            Kind::find(group, kind).unwrap_or_else(|| panic!("{input} is no known kind"))
        })
        .collect();
    reading.resources.retain(|resource| kinds.contains(&resource.kind));
    let now = Clock::system().now().unix_timestamp();
    let settings = Settings { mesh_config, mesh_networks, now, ..Settings::default() };
    let snapshot = Snapshot::new(reading.resources, settings);
    let rules: Vec<_> = rules::ALL.iter().copied().filter(|rule| rule.name == case.analyzer).collect();
    let mut found: Vec<String> = run(&snapshot, &rules, NonZero::new(2).unwrap())
        .iter()
        .map(|finding| format!("{} {}", finding.code.id, finding.object))
        .collect();
    found.sort();
    found
}

/// Standard output and standard error of the command line.
fn told(folder: &Path, case: &Case) -> (Vec<String>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sailhand"));
    command.args(["analyze", "-o", "json", "--fail-on", "never", "--codes", &case.analyzer]);
    let given = [("--mesh-config", &case.mesh_config_file), ("--mesh-networks", &case.mesh_networks_file)];
    for (flag, file) in given {
        if let Some(file) = file {
            command.arg(flag).arg(folder.join(file));
        }
    }
    if !has_no_ingress(folder, case) {
        command.arg("--default-objects");
    }
    command.args(case.input_files.iter().map(|file| folder.join(file)));
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}: {}: {errors}", case.id, output.status);
    let findings: Vec<Expected> = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{}: {error}: {}", case.id, String::from_utf8_lossy(&output.stdout));
    });
    (lines(&findings), errors)
}

/// A mesh configuration without an ingress controller is analyzed without its pod and service.
fn has_no_ingress(folder: &Path, case: &Case) -> bool {
    case.mesh_config_file.as_ref().is_some_and(|file| {
        let text = fs::read_to_string(folder.join(file)).unwrap();
        read_value("mesh config", &text).unwrap()["ingressControllerMode"].text() == "OFF"
    })
}

fn lines(findings: &[Expected]) -> Vec<String> {
    let mut lines: Vec<String> = findings.iter().map(|one| format!("{} {}", one.code, one.resource)).collect();
    lines.sort();
    lines
}

fn cases(folder: &Path) -> Vec<Case> {
    let cases: Vec<Case> = serde_json::from_slice(&fs::read(folder.join("cases.json")).unwrap()).unwrap();
    assert_eq!(cases.len(), 73);
    cases
}

#[test]
fn istio_cases_have_the_expected_codes() {
    let Some(folder) = folder() else { return };
    let cases = cases(&folder);
    let without_rule: BTreeSet<&str> = cases
        .iter()
        .map(|case| case.analyzer.as_str())
        .filter(|analyzer| rules::ALL.iter().all(|rule| rule.name != *analyzer))
        .collect();
    assert_eq!(without_rule, BTreeSet::new());
    let mut wrong = Vec::new();
    for case in &cases {
        let (expected, found) = (lines(&case.expected), found(&folder, case));
        if found != expected {
            wrong.push(format!("{}: expected {expected:#?}, found {found:#?}", case.id));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn istio_cases_match_through_the_command_line() {
    let Some(folder) = folder() else { return };
    let mut wrong = Vec::new();
    for case in &cases(&folder) {
        let expected = lines(&case.expected);
        let (told, errors) = told(&folder, case);
        if told != expected {
            wrong.push(format!("{}: expected {expected:#?}, told {told:#?}; {errors}", case.id));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
