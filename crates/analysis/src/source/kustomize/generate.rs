//! `ConfigMaps` and Secrets of generators, and the hash that is added to their names. Source: kustomize
//! `api/internal/generators`, `api/kv`, `api/hasher`.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sailhand_base::hex::hex;
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use super::super::super::Value;
use super::super::SourceSpan;
use super::object::Object;
use super::{Files, Inexact};

/// Characters on a line of the data of a Secret.
const LINE: usize = 70;

/// The object of a generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A `ConfigMap`.
    ConfigMap,
    /// A `Secret`.
    Secret,
}

/// Generates the object of one entry and adds it to the others, as its `behavior` says.
pub fn add(
    kind: Kind,
    entry: &Value,
    general: &Value,
    folder: &Path,
    files: &mut dyn Files,
    origin: SourceSpan,
    objects: &mut Vec<Object>,
) -> Result<(), Inexact> {
    let mut made = Object::new(object(kind, entry, general, folder, files)?, origin);
    let is_off = |options: &Value| options["disableNameSuffixHash"].is_true();
    made.needs_hash = !is_off(&entry["options"]) && !is_off(general);
    let id = made.id();
    let same: Vec<usize> = (0..objects.len()).filter(|at| objects[*at].ids().any(|other| other == id)).collect();
    let fails = |why: &str| Err(Inexact(format!("the generator of {}, {why}", id.name)));
    match (entry["behavior"].text(), same.as_slice()) {
        ("" | "create" | "unspecified", []) => objects.push(made),
        ("" | "create" | "unspecified", _) => return fails("which is there already"),
        ("replace" | "merge", [at]) => {
            let old = &objects[*at];
            inherit(&mut made, old, entry["behavior"].text() == "merge");
            objects[*at] = made;
        }
        _ => return fails("which has no object to change"),
    }
    Ok(())
}

/// Takes name, labels and annotations of the object that it replaces, and its data if it is merged.
fn inherit(made: &mut Object, old: &Object, keeps_data: bool) {
    made.previous.clone_from(&old.previous);
    made.prefixes.clone_from(&old.prefixes);
    made.suffixes.clone_from(&old.suffixes);
    let mut metadata = old.root["metadata"].clone();
    for key in ["labels", "annotations"] {
        let merged = metadata[key].overlaid(&made.root["metadata"][key]);
        if made.root["metadata"][key].is_set() {
            metadata.set(
                key,
                if old.root["metadata"][key].is_null() { made.root["metadata"][key].clone() } else { merged },
            );
        }
    }
    made.root.set("metadata", metadata);
    for key in ["data", "binaryData"].into_iter().filter(|_| keeps_data) {
        if old.root[key].is_set() {
            let data =
                if made.root[key].is_null() { old.root[key].clone() } else { old.root[key].overlaid(&made.root[key]) };
            made.root.set(key, data);
        }
    }
}

fn object(kind: Kind, entry: &Value, general: &Value, folder: &Path, files: &mut dyn Files) -> Result<Value, Inexact> {
    let name = entry["name"].scalar_text();
    if name.is_empty() {
        return Err(Inexact("a generator without a name".to_owned()));
    }
    let mut root = Value::Map(Box::default());
    root.set("apiVersion", Value::string("v1"));
    root.set("kind", Value::string(if kind == Kind::Secret { "Secret" } else { "ConfigMap" }));
    let metadata = root.map_mut("metadata");
    metadata.set("name", Value::Str(name.clone()));
    if entry["namespace"].is_set() {
        metadata.set("namespace", entry["namespace"].clone());
    }
    for key in ["labels", "annotations"] {
        let pairs = general[key].entries().iter().chain(entry["options"][key].entries());
        for (label, value) in pairs {
            metadata.map_mut(key).set(label, Value::Str(value.scalar_text()));
        }
    }
    if kind == Kind::Secret {
        let of = entry["type"].scalar_text();
        root.set("type", Value::Str(if of.is_empty() { "Opaque".into() } else { of }));
    }
    if entry["options"]["immutable"].is_true() || general["immutable"].is_true() {
        root.set("immutable", Value::Bool(true));
    }
    let pairs = pairs(entry, folder, files)?;
    for (key, text) in pairs {
        let text = if kind == Kind::Secret { encoded(&text) } else { text };
        root.map_mut("data").set(&key, Value::string(text));
    }
    Ok(root)
}

fn pairs(entry: &Value, folder: &Path, files: &mut dyn Files) -> Result<BTreeMap<String, String>, Inexact> {
    let mut pairs = BTreeMap::new();
    let mut add = |key: &str, text: String| match pairs.insert(key.to_owned(), text) {
        None => Ok(()),
        Some(_) => Err(Inexact(format!("the generator of {}, which has the key {key} twice", entry["name"].text()))),
    };
    for path in entry["envs"].texts().chain(entry["env"].as_str()) {
        let text = super::read_inside(folder, path, files)?;
        for line in text.trim_start_matches('\u{feff}').lines() {
            let line = line.trim_start();
            if !line.is_empty() && !line.starts_with('#') {
                let (key, text) = line.split_once('=').unwrap_or((line, ""));
                add(key, text.to_owned())?;
            }
        }
    }
    for literal in entry["literals"].texts() {
        let (key, text) = literal
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| Inexact("a literal of a generator without a key".to_owned()))?;
        add(key, unquoted(text).to_owned())?;
    }
    for source in entry["files"].texts() {
        let (key, path) =
            source.split_once('=').unwrap_or_else(|| (source.rsplit('/').next().unwrap_or(source), source));
        add(key, super::read_inside(folder, path, files)?)?;
    }
    Ok(pairs)
}

fn unquoted(text: &str) -> &str {
    ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote)).unwrap_or(text)
}

fn encoded(text: &str) -> String {
    let text = STANDARD.encode(text);
    if text.len() < LINE {
        return text;
    }
    text.as_bytes().chunks(LINE).map(|line| String::from_utf8_lossy(line).into_owned() + "\n").collect()
}

/// Adds the hash of its content to the name of each object that needs it.
pub fn add_hashes(objects: &mut [Object]) {
    for object in objects.iter_mut().filter(|object| object.needs_hash) {
        object.store_id();
        let name = format!("{}-{}", object.name(), hash(&object.root));
        object.set_name(&name);
    }
}

fn hash(root: &Value) -> String {
    let data = |key: &str| if root[key].is_null() { json!("") } else { as_json(&root[key]) };
    let mut hashed = Map::new();
    hashed.insert("kind".to_owned(), as_json(&root["kind"]));
    // Kustomize looks the name up by a key that no object has.
    hashed.insert("name".to_owned(), json!(""));
    hashed.insert("data".to_owned(), data("data"));
    let more = if root["kind"].text() == "Secret" {
        hashed.insert("type".to_owned(), as_json(&root["type"]));
        "stringData"
    } else {
        "binaryData"
    };
    if root[more].is_set() {
        hashed.insert(more.to_owned(), as_json(&root[more]));
    }
    let digest = Sha256::digest(go_json(&Json::Object(hashed)).as_bytes());
    let replaced = |c: char| match c {
        '0' => 'g',
        '1' => 'h',
        '3' => 'k',
        'a' => 'm',
        'e' => 't',
        other => other,
    };
    hex(&digest[..5]).chars().map(replaced).collect()
}

fn as_json(value: &Value) -> Json {
    serde_json::to_value(value).unwrap_or_default()
}

/// As Go's `json.Marshal` writes it: sorted keys, and escapes for HTML.
fn go_json(value: &Json) -> String {
    match value {
        Json::Object(entries) => {
            let sorted: BTreeMap<&String, &Json> = entries.iter().collect();
            let parts: Vec<String> =
                sorted.into_iter().map(|(key, value)| format!("{}:{}", go_json(&json!(key)), go_json(value))).collect();
            format!("{{{}}}", parts.join(","))
        }
        Json::String(text) => json!(text)
            .to_string()
            .replace('<', "\\u003c")
            .replace('>', "\\u003e")
            .replace('&', "\\u0026")
            .replace('\u{2028}', "\\u2028")
            .replace('\u{2029}', "\\u2029"),
        other => other.to_string(),
    }
}
