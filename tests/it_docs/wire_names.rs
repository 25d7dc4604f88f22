//! The conventions of the wire contract (docs/contract.md, "Names and values") over each file below `schemas/`.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

/// Last words of names that stand for a time: RFC 3339 with `format: date-time`.
const TIMES: [&str; 8] = ["at", "before", "deadline", "ended", "expires", "since", "started", "time"];
/// Names that end in one of [`TIMES`] and are no time. `time` is a duration in the report that Meshery reads.
const NO_TIMES: [&str; 3] = ["before", "base_ejection_time", "time"];
/// Last words of names that stand for a duration. A number needs a unit behind them.
const DURATIONS: [&str; 9] = ["age", "delay", "duration", "interval", "latency", "period", "timeout", "ttl", "wait"];
/// The words of a severity, and the names of fields that would be a second vocabulary.
const SEVERITIES: [&str; 3] = ["error", "info", "warning"];
const OTHER_SEVERITIES: [&str; 3] = ["level", "priority", "criticality"];

fn is_snake_case(name: &str) -> bool {
    let word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.split('_').all(word)
}

fn is_value_word(word: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    word.split('-').all(part)
}

/// Whether a schema, or a branch of it, is of this JSON type.
fn is_of(schema: &Value, types: &[&str]) -> bool {
    let of = |name: &Value| name.as_str().is_some_and(|name| types.contains(&name));
    of(&schema["type"]) || schema["type"].as_array().is_some_and(|all| all.iter().any(of))
}

/// Everything in a property that breaks a convention.
fn faults(name: &str, schema: &Value) -> Vec<String> {
    let last = name.rsplit('_').next().unwrap_or_default();
    let mut found = Vec::new();
    if !is_snake_case(name) {
        found.push("is not snake_case".to_owned());
    }
    if TIMES.contains(&last) && !NO_TIMES.contains(&name) && schema["format"] != "date-time" {
        found.push("is a time without `format: date-time`".to_owned());
    }
    if DURATIONS.contains(&last) && is_of(schema, &["integer", "number"]) {
        found.push("is a duration as a number without its unit in the name, such as `_ms`".to_owned());
    }
    if OTHER_SEVERITIES.contains(&name) {
        found.push("is not called `severity`".to_owned());
    }
    found
}

/// Walks a schema: `(path, what is wrong)` for each fault below `path`.
fn walk(schema: &Value, root: &Value, path: &str, found: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            for (name, property) in fields.get("properties").and_then(Value::as_object).into_iter().flatten() {
                let path = format!("{path}.{name}");
                found.extend(faults(name, property).into_iter().map(|fault| format!("{path} {fault}")));
                if name == "severity" && severities(property, root) != SEVERITIES {
                    found.push(format!("{path} has other words than {SEVERITIES:?}"));
                }
            }
            if fields.get("description").and_then(Value::as_str).is_some_and(|text| text.contains("[`")) {
                found.push(format!(
                    "{path} has a description with a link of rustdoc, which readers of schemas cannot follow"
                ));
            }
            for word in words(schema).into_iter().filter(|word| !is_value_word(word)) {
                found.push(format!("{path} has the value {word:?}, which is not in lower-case words with dashes"));
            }
            for (name, value) in fields.iter().filter(|(name, _)| !["default", "examples"].contains(&name.as_str())) {
                let path = if name == "properties" { path.to_owned() } else { format!("{path}.{name}") };
                walk(value, root, &path, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, root, path, found)),
        _ => {}
    }
}

/// The strings of `const` and `enum` of one schema.
fn words(schema: &Value) -> Vec<&str> {
    let listed = schema["enum"].as_array().into_iter().flatten();
    listed.chain(schema.get("const")).filter_map(Value::as_str).collect()
}

/// The values of a severity, sorted, through a reference to `$defs`.
fn severities<'a>(schema: &'a Value, root: &'a Value) -> Vec<&'a str> {
    let target = schema["$ref"].as_str().and_then(|reference| root.pointer(reference.trim_start_matches('#')));
    let schema = target.unwrap_or(schema);
    let branches = schema["oneOf"].as_array().into_iter().flatten();
    let mut all: Vec<_> = branches.chain([schema]).flat_map(words).collect();
    all.sort_unstable();
    all
}

#[test]
fn schemas_follow_the_conventions_of_the_contract() {
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let mut found = Vec::new();
    let mut files = 0;
    for folder in ["commands", "events", "results"] {
        for entry in fs::read_dir(schemas.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let schema: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let name = format!("{folder}/{}", path.file_name().unwrap().to_string_lossy());
            walk(&schema, &schema, &name, &mut found);
            files += 1;
        }
    }
    assert!(files > 40, "{files}");
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn violations_of_each_convention_are_found() {
    let broken = [
        ("dryRun", json!({"type": "boolean"}), "snake_case"),
        ("api_Version", json!({"type": "string"}), "snake_case"),
        ("since", json!({"type": "integer"}), "date-time"),
        ("not_before", json!({"type": "string"}), "date-time"),
        ("max_age", json!({"type": ["integer", "null"]}), "unit"),
        ("level", json!({"type": "string"}), "severity"),
    ];
    for (name, schema, wanted) in broken {
        let found = faults(name, &schema);
        assert!(found.iter().any(|fault| fault.contains(wanted)), "{name}: {found:?}");
    }
    for (name, schema) in [
        ("dry_run", json!({"type": "boolean"})),
        ("started_at", json!({"type": "string", "format": "date-time"})),
        ("delay_ms", json!({"type": "integer"})),
        ("timeout", json!({"type": "string"})),
    ] {
        assert!(faults(name, &schema).is_empty(), "{name}");
    }
    let fatal = json!({"properties": {"severity": {"enum": ["error", "fatal", "info", "warning"]}}});
    let mut found = Vec::new();
    walk(&fatal, &fatal, "", &mut found);
    assert_eq!(found.len(), 1, "{found:?}");
    let linked = json!({"description": "See [`Finding::forceable`]."});
    walk(&linked, &linked, "", &mut found);
    assert_eq!(found.len(), 2, "{found:?}");
}
