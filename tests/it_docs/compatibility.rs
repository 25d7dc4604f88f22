//! Breaking changes of the wire contract: `schemas/` beside those of the last git tag. The rules are those of
//! CONTRIBUTING.md, "The contract". Without a tag, as before the first release, there is nothing to compare with.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// Who writes the data that a schema describes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writer {
    /// A producer: what was valid stays valid.
    Producer,
    /// A worker: what was there stays there.
    Worker,
}

/// Output of a git command in the repository; `None` if it fails.
fn git(arguments: &[&str]) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("git").current_dir(root).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Replaces references to `$defs` by what they refer to, to a bounded depth: a moved definition is no change.
fn resolved(schema: &Value, root: &Value, depth: usize) -> Value {
    match schema {
        Value::Object(fields) => {
            if let Some(target) = fields.get("$ref").and_then(Value::as_str)
                && let Some(target) = root.pointer(target.trim_start_matches('#'))
            {
                return if depth == 0 { json!({}) } else { resolved(target, root, depth - 1) };
            }
            let kept = fields.iter().filter(|(name, _)| !["$defs", "description", "title"].contains(&name.as_str()));
            kept.map(|(name, value)| (name.clone(), resolved(value, root, depth))).collect()
        }
        Value::Array(items) => items.iter().map(|item| resolved(item, root, depth)).collect(),
        other => other.clone(),
    }
}

fn types(schema: &Value) -> BTreeSet<&str> {
    let all = schema["type"].as_array().into_iter().flatten();
    all.chain(schema.get("type")).filter_map(Value::as_str).collect()
}

/// The constants that a schema allows; empty where it allows more than constants.
fn constants(schema: &Value) -> BTreeSet<&str> {
    let branches = schema["oneOf"].as_array().into_iter().flatten().filter_map(|branch| branch["const"].as_str());
    let listed = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
    branches.chain(listed).collect()
}

fn required(schema: &Value) -> BTreeSet<&str> {
    schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Each change from `old` to `new` that breaks a producer or an observer.
fn breaking(old: &Value, new: &Value, writer: Writer, path: &str, found: &mut Vec<String>) {
    let (old_types, new_types) = (types(old), types(new));
    let narrowed = match writer {
        Writer::Producer => !new_types.is_empty() && !new_types.is_superset(&old_types),
        Writer::Worker => !old_types.is_empty() && !old_types.is_superset(&new_types),
    };
    if narrowed {
        found.push(format!("{path}: the type changed from {old_types:?} to {new_types:?}"));
    }
    if old["format"] != new["format"] && types(new).contains("string") {
        found.push(format!("{path}: the format changed from {} to {}", old["format"], new["format"]));
    }
    let (old_words, new_words) = (constants(old), constants(new));
    if writer == Writer::Producer && !new_words.is_empty() {
        found.extend(old_words.difference(&new_words).map(|word| format!("{path}: the value {word:?} is gone")));
    }
    let (was, is) = (required(old), required(new));
    match writer {
        Writer::Producer => {
            found.extend(is.difference(&was).map(|name| format!("{path}.{name}: it is required now")));
        }
        Writer::Worker => {
            found.extend(was.difference(&is).map(|name| format!("{path}.{name}: it can be absent now")));
        }
    }
    for (name, property) in old["properties"].as_object().into_iter().flatten() {
        match new["properties"].get(name) {
            Some(new) => breaking(property, new, writer, &format!("{path}.{name}"), found),
            None => found.push(format!("{path}.{name}: it is gone")),
        }
    }
    for inner in ["items", "additionalProperties"] {
        if old[inner].is_object() && new[inner].is_object() {
            breaking(&old[inner], &new[inner], writer, &format!("{path}.{inner}"), found);
        }
    }
    for inner in ["anyOf", "oneOf", "allOf"] {
        let (old, new) = (old[inner].as_array(), new[inner].as_array());
        for (index, (old, new)) in old.into_iter().flatten().zip(new.into_iter().flatten()).enumerate() {
            breaking(old, new, writer, &format!("{path}.{inner}[{index}]"), found);
        }
    }
}

fn compared(old: &Value, new: &Value, writer: Writer) -> Vec<String> {
    let mut found = Vec::new();
    breaking(&resolved(old, old, 8), &resolved(new, new, 8), writer, "", &mut found);
    found
}

#[test]
fn schemas_are_compatible_with_the_last_release() {
    let Some(tag) = git(&["describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", "HEAD"]) else {
        // The test harness does not capture what is written to the stream itself, so it shows without a failure too.
        let _ = writeln!(std::io::stderr(), "NOT RUN: there is no release tag to compare schemas/ with");
        return;
    };
    let mut found = Vec::new();
    for (folder, writer) in [("commands", Writer::Producer), ("events", Writer::Worker), ("results", Writer::Worker)] {
        let names = git(&["ls-tree", "-r", "--name-only", &tag, "--", &format!("schemas/{folder}")]).unwrap();
        for name in names.lines() {
            let old: Value = serde_json::from_str(&git(&["show", &format!("{tag}:{name}")]).unwrap()).unwrap();
            let Ok(new) = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)) else {
                found.push(format!("{name} is gone"));
                continue;
            };
            let new = serde_json::from_slice(&new).unwrap();
            found.extend(compared(&old, &new, writer).into_iter().map(|change| format!("{name} {change}")));
        }
    }
    assert!(found.is_empty(), "breaking changes since {tag}; see \"The contract\" in CONTRIBUTING.md: {found:#?}");
}

#[test]
fn breaking_changes_are_found_and_compatible_ones_are_not() {
    let old = json!({
        "$defs": {"Mode": {"oneOf": [{"const": "a"}, {"const": "b"}]}},
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string"},
            "mode": {"$ref": "#/$defs/Mode"},
            "rules": {"type": "array", "items": {"type": "object", "properties": {"port": {"type": "integer"}}}},
        },
    });
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut new = old.clone();
        change(&mut new);
        new
    };
    let count = |new: &Value, writer| compared(&old, new, writer).len();
    let wider = changed(&|new| {
        new["properties"]["note"] = json!({"type": "string"});
        new["$defs"]["Mode"]["oneOf"].as_array_mut().unwrap().push(json!({"const": "c"}));
    });
    assert_eq!((count(&wider, Writer::Producer), count(&wider, Writer::Worker)), (0, 0));
    let renamed = changed(&|new| {
        let properties = new["properties"].as_object_mut().unwrap();
        let name = properties.remove("name").unwrap();
        properties.insert("title".to_owned(), name);
    });
    assert_eq!((count(&renamed, Writer::Producer), count(&renamed, Writer::Worker)), (1, 1));
    let required = changed(&|new| new["required"] = json!(["name", "mode"]));
    assert_eq!((count(&required, Writer::Producer), count(&required, Writer::Worker)), (1, 0));
    let optional = changed(&|new| new["required"] = json!([]));
    assert_eq!((count(&optional, Writer::Producer), count(&optional, Writer::Worker)), (0, 1));
    let nullable = changed(&|new| new["properties"]["name"]["type"] = json!(["string", "null"]));
    assert_eq!((count(&nullable, Writer::Producer), count(&nullable, Writer::Worker)), (0, 1));
    let retyped = changed(&|new| new["properties"]["rules"]["items"]["properties"]["port"] = json!({"type": "string"}));
    assert_eq!((count(&retyped, Writer::Producer), count(&retyped, Writer::Worker)), (1, 1));
    let fewer = changed(&|new| new["$defs"]["Mode"]["oneOf"] = json!([{"const": "a"}]));
    assert_eq!((count(&fewer, Writer::Producer), count(&fewer, Writer::Worker)), (1, 0));
}
