//! Parameters from the command line: `--param a.b=v`, `--param a=@file`, `--file f`.

use std::fs::File;
use std::io::{self, Read};

use serde_json::{Map, Value};

use super::Error;
use crate::event::dataref;

/// The object that `--file` gives, with each `--param` set in it. `schema` is that of the verb, where it is known: what
/// it says is text stays text, even if it looks like a number.
pub(super) fn build(file: Option<&str>, params: &[String], schema: Option<&Value>) -> Result<Value, Error> {
    let mut value = match file {
        None => Value::Object(Map::new()),
        Some(name) => from_file(name)?,
    };
    for param in params {
        let (path, text) = param
            .split_once('=')
            .filter(|(path, _)| !path.is_empty())
            .ok_or_else(|| Error::argument(format!("--param {param}"), "must be key=value"))?;
        let found = match text.strip_prefix('@') {
            Some(name) => Value::String(read(name)?),
            None if schema.is_some_and(|schema| is_text(schema, path)) => Value::String(text.to_owned()),
            None => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
        };
        set(&mut value, path, found).map_err(|reason| Error::argument(format!("--param {path}"), reason))?;
    }
    Ok(value)
}

/// JSON, or YAML, of which JSON is not wholly a part.
fn from_file(name: &str) -> Result<Value, Error> {
    let text = read(name)?;
    let wrong = |reason: String| Error::argument(format!("--file {name}"), reason);
    let value = match serde_json::from_str(&text) {
        Ok(value) => value,
        Err(_) => serde_saphyr::from_str(&text).map_err(|error| wrong(error.to_string()))?,
    };
    if matches!(value, Value::Object(_)) { Ok(value) } else { Err(wrong("must hold one object".to_owned())) }
}

/// A file, or standard input for `-`, at most as large as parameters may be.
fn read(name: &str) -> Result<String, Error> {
    let fail = |source| Error::local(format!("read {name}"), source);
    let input: Box<dyn Read> =
        if name == "-" { Box::new(io::stdin()) } else { Box::new(File::open(name).map_err(fail)?) };
    let mut text = String::new();
    input.take(dataref::MAX_BYTES as u64 + 1).read_to_string(&mut text).map_err(fail)?;
    if text.len() > dataref::MAX_BYTES {
        return Err(Error::argument(name, format!("is larger than {} bytes", dataref::MAX_BYTES)));
    }
    Ok(text)
}

/// Whether the schema takes text, and nothing but text or nothing, at a path.
fn is_text(schema: &Value, path: &str) -> bool {
    let resolve = |place: &Value| -> Option<Value> {
        let name = place.get("$ref").and_then(Value::as_str)?.strip_prefix("#/$defs/")?;
        schema.get("$defs")?.get(name).cloned()
    };
    let mut place = schema.clone();
    for name in path.split('.') {
        place = resolve(&place).unwrap_or(place);
        let Some(next) = place.get("properties").and_then(|fields| fields.get(name)) else { return false };
        place = next.clone();
    }
    match resolve(&place).unwrap_or(place).get("type") {
        Some(Value::String(only)) => only == "string",
        Some(Value::Array(types)) => types.iter().all(|ty| ty == "string" || ty == "null"),
        _ => false,
    }
}

fn set(value: &mut Value, path: &str, found: Value) -> Result<(), String> {
    let mut place = value;
    for name in path.split('.') {
        if name.is_empty() {
            return Err("a key is empty".to_owned());
        }
        let Value::Object(fields) = place else { return Err(format!("{name} is below something that is no object")) };
        place = fields.entry(name).or_insert_with(|| Value::Object(Map::new()));
    }
    *place = found;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn built(params: &[&str]) -> Result<Value, Error> {
        build(None, &params.iter().map(|param| (*param).to_owned()).collect::<Vec<_>>(), None)
    }

    #[test]
    fn what_the_schema_says_is_text_stays_text() {
        let schema = json!({
            "properties": {
                "revision": { "type": ["string", "null"] },
                "any": { "type": ["string", "number"] },
                "deep": { "$ref": "#/$defs/Deep" },
            },
            "$defs": { "Deep": { "properties": { "name": { "type": "string" }, "count": { "type": "integer" } } } },
        });
        let params = ["revision=1", "any=1", "deep.name=true", "deep.count=1", "other=1"].map(str::to_owned);
        let value = build(None, &params, Some(&schema)).unwrap();
        assert_eq!(value, json!({ "revision": "1", "any": 1, "deep": { "name": "true", "count": 1 }, "other": 1 }));
    }

    #[test]
    fn values_are_json_where_they_can_be() {
        let value = built(&["a=1", "b=true", "c=text", "d=[1,2]", "e=\"1\"", "f=", "g=a=b"]).unwrap();
        assert_eq!(value, json!({"a": 1, "b": true, "c": "text", "d": [1, 2], "e": "1", "f": "", "g": "a=b"}));
    }

    #[test]
    fn dots_nest_and_later_ones_win() {
        let value = built(&["a.b.c=1", "a.b.d=2", "a.b.c=3"]).unwrap();
        assert_eq!(value, json!({"a": {"b": {"c": 3, "d": 2}}}));
    }

    #[test]
    fn nonsense_is_named() {
        for (params, reason) in [
            (&["novalue"][..], "must be key=value"),
            (&["=1"], "must be key=value"),
            (&["a..b=1"], "a key is empty"),
            (&["a=1", "a.b=2"], "b is below something that is no object"),
            (&["a=@/does/not/exist"], "cannot read /does/not/exist"),
        ] {
            let error = built(params).unwrap_err().to_string();
            assert!(error.contains(reason), "{params:?}: {error}");
        }
    }

    #[test]
    fn files_are_json_or_yaml_objects() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        assert_eq!(build(Some(&path("a.json", "{\"a\":1}")), &[], None).unwrap(), json!({"a": 1}));
        let yaml = path("a.yaml", "a: 1\nb:\n- x\n");
        assert_eq!(build(Some(&yaml), &["a=2".to_owned()], None).unwrap(), json!({"a": 2, "b": ["x"]}));
        assert!(build(Some(&path("list.json", "[1]")), &[], None).is_err());
        let text = path("text", "a: b\n");
        assert_eq!(build(None, &[format!("manifest=@{text}")], None).unwrap(), json!({"manifest": "a: b\n"}));
    }
}
