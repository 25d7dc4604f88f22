//! The contract as files: what is under `schemas/` is what the types say, and it says what it should.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sailhand::event::params::ParamsValidator;
use sailhand::event::{Target, decode};
use sailhand::task::Registry;
use serde_json::{Value, json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

fn file(name: &str) -> Value {
    let text = fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn schemas_match_the_types() {
    let output = Command::new(env!("CARGO_BIN_EXE_sailhand"))
        .args(["schema", "--check", "--out"])
        .arg(folder())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_changed_a_missing_and_a_stale_file_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let run = |check: bool| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sailhand"));
        command.args(["schema", "--out"]).arg(dir.path());
        if check { command.arg("--check").output().unwrap() } else { command.output().unwrap() }
    };
    assert!(run(false).status.success());
    assert!(run(true).status.success());
    fs::write(dir.path().join("commands/ping.v1.json"), "{}").unwrap();
    fs::remove_file(dir.path().join("asyncapi.json")).unwrap();
    fs::write(dir.path().join("events/old.v1.json"), "{}").unwrap();
    let checked = run(true);
    assert_eq!(checked.status.code(), Some(1));
    let text = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(text.contains("asyncapi.json, commands/ping.v1.json, events/old.v1.json"), "{text}");
}

#[test]
fn examples_match_their_schemas() {
    let target: Target = "dev".parse().unwrap();
    for task in Registry::standard().iter() {
        let example = file(&format!("examples/{}.v1.json", task.verb()));
        let payload = serde_json::to_vec(&example).unwrap();
        let command = decode(&target, task.verb(), &std::iter::empty(), &payload)
            .unwrap_or_else(|rejection| panic!("{}: {}", task.verb(), rejection.error));
        let schema = file(&format!("commands/{}.v1.json", task.verb()));
        let validator = jsonschema::validator_for(&schema).unwrap();
        assert!(validator.is_valid(&command.params), "{}: {}", task.verb(), command.params);
        task.installation(&command.params).unwrap_or_else(|reason| panic!("{}: {reason}", task.verb()));
    }
}

#[test]
fn every_verb_refuses_an_unknown_field_by_schema_and_by_type() {
    for task in Registry::standard().iter() {
        let mut params = task.example();
        params["nosuchfield"] = json!(1);
        let error = ParamsValidator::new(&task.params_schema()).unwrap().check(&params).unwrap_err().to_string();
        assert!(error.contains("nosuchfield"), "{}: {error}", task.verb());
        assert!(task.installation(&params).is_err(), "{}", task.verb());
    }
}

#[test]
fn results_accept_only_their_reports() {
    let schema = file("results/ping.v1.json");
    let validator = jsonschema::validator_for(&schema).unwrap();
    let result = |report: Value| {
        json!({
            "outcome": "succeeded", "changed": false, "report": report, "attempts": 1, "fence": 0, "worker": "w",
            "ended": "2026-01-31T12:00:00Z",
        })
    };
    assert!(validator.is_valid(&result(json!({ "echo": "hello" }))));
    assert!(!validator.is_valid(&result(json!({ "echo": 1 }))));
    assert!(!validator.is_valid(&result(json!({ "other": "hello" }))));
}

#[test]
fn asyncapi_references_exist() {
    let document = file("asyncapi.json");
    assert_eq!(document["asyncapi"], "3.0.0");
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        if let Some(pointer) = reference.strip_prefix('#') {
            assert!(document.pointer(pointer).is_some(), "{reference}");
        } else {
            assert!(folder().join(&reference).is_file(), "{reference}");
        }
    }
    for task in Registry::standard().iter() {
        let id = task.verb().replace('.', "_");
        for kind in ["command", "result"] {
            let name = &document["components"]["messages"][format!("{kind}_{id}")]["name"];
            assert_eq!(name, &json!(format!("io.meshery.istio.{kind}.{}.v1", task.verb())));
        }
    }
}

fn collect(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(reference) if name == "$ref" => into.push(reference.to_owned()),
                    _ => collect(value, into),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, into)),
        _ => {}
    }
}
