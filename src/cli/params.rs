//! Parameters from the command line: `--param a.b[0]=v`, `--param a=@file`, `--file f`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde_json::{Map, Value};
use serde_saphyr::{MessageFormatter as _, UserMessageFormatter};

use super::Error;
use crate::event::{dataref, params};
use crate::mesh::istio_operator;

/// Parameters are usually a few values; an index beyond this is a typing error.
const MAX_INDEX: usize = 1_000;

/// The object in `--file`, with each `--param` set in it. With the schema of the verb, text stays text even if it looks like
/// a number, and `@file` reads YAML for a parameter that is an object or a list.
///
/// # Errors
/// Files that cannot be read or are no object, and keys that do not fit.
pub(super) fn build(verb: &str, file: Option<&str>, params: &[String], schema: Option<&Value>) -> Result<Value, Error> {
    let mut value = match file {
        None => Value::Object(Map::new()),
        Some(name) => from_file(verb, name)?,
    };
    for param in params {
        let (path, text) = param
            .split_once('=')
            .filter(|(path, _)| !path.is_empty())
            .ok_or_else(|| Error::argument(format!("--param {param}"), "must be key=value"))?;
        let shape = schema.map_or(Shape::Unknown, |schema| shape(schema, path));
        let found = match text.strip_prefix('@') {
            Some(name) if shape == Shape::Nested => yaml(name, &read(name)?)?,
            Some(name) => Value::String(read(name)?),
            None if shape == Shape::Text => {
                is_not_a_file(path, text)?;
                Value::String(text.to_owned())
            }
            None => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
        };
        set(&mut value, path, found).map_err(|reason| Error::argument(format!("--param {path}"), reason))?;
    }
    Ok(value)
}

/// The name of a manifest where its text is expected: `@` was forgotten.
fn is_not_a_file(path: &str, text: &str) -> Result<(), Error> {
    let is_manifest = ["yaml", "yml", "json"].iter().any(|end| text.ends_with(&format!(".{end}")));
    if is_manifest && Path::new(text).is_file() {
        let reason = format!("{text} is a file; did you mean {path}=@{text}?");
        return Err(Error::argument(format!("--param {path}={text}"), reason));
    }
    Ok(())
}

/// Parameters in JSON or YAML. An `IstioOperator` becomes the parameters of `mesh.install`.
fn from_file(verb: &str, name: &str) -> Result<Value, Error> {
    let value = yaml(name, &read(name)?)?;
    let wrong = |reason: String| Error::argument(format!("--file {name}"), reason);
    if !matches!(value, Value::Object(_)) {
        return Err(wrong("must contain one object with the parameters".to_owned()));
    }
    match value["kind"].as_str() {
        Some(istio_operator::KIND) if verb == "mesh.install" => istio_operator::params(&value).map_err(wrong),
        Some(kind) if value["apiVersion"].is_string() => Err(wrong(format!(
            "is a Kubernetes manifest ({kind}) and not an object with the parameters of {verb}; \
             use `sailhand apply -f {name} --name …`, or -p manifest=@{name}"
        ))),
        _ => Ok(value),
    }
}

/// One document of JSON or YAML.
fn yaml(name: &str, text: &str) -> Result<Value, Error> {
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        let reason = format!("line {line}: {}", UserMessageFormatter.format_message(&error));
        Error::argument(name, format!("invalid YAML: {reason}"))
    })?;
    let mut documents = documents.into_iter().filter(|document| !document.is_null());
    match (documents.next(), documents.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(Error::argument(name, "is empty")),
        (Some(first), Some(_)) if first["kind"].is_string() => Err(Error::argument(
            name,
            format!(
                "contains several Kubernetes objects; use `sailhand apply -f {name} --name …`, or -p manifest=@{name}"
            ),
        )),
        (Some(_), Some(_)) => Err(Error::argument(name, "contains several YAML documents; one is expected")),
    }
}

/// A file, or standard input for `-`, at most as large as parameters may be.
///
/// # Errors
/// Files that cannot be read or are too large.
pub(super) fn read(name: &str) -> Result<String, Error> {
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

/// What a schema expects at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Text, or nothing.
    Text,
    /// An object or a list.
    Nested,
    /// Numbers, switches, and everything that the schema leaves open.
    Unknown,
}

fn shape(schema: &Value, path: &str) -> Shape {
    let Ok(steps) = steps(path) else { return Shape::Unknown };
    let mut place = params::meant(schema, schema);
    for step in steps {
        let next = match step {
            Step::Field(name) => place.get("properties").and_then(|fields| fields.get(name)),
            Step::Index(_) => place.get("items"),
        };
        let Some(next) = next else { return Shape::Unknown };
        place = params::meant(schema, next);
    }
    let is_one_of = |wanted: &[&str]| match &place["type"] {
        Value::String(only) => wanted.contains(&only.as_str()),
        Value::Array(types) => types.iter().filter_map(Value::as_str).all(|ty| ty == "null" || wanted.contains(&ty)),
        _ => false,
    };
    match () {
        () if is_one_of(&["string"]) => Shape::Text,
        () if is_one_of(&["object", "array"]) => Shape::Nested,
        () => Shape::Unknown,
    }
}

/// A step of a path such as `rules[0].host`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step<'a> {
    Field(&'a str),
    Index(usize),
}

fn steps(path: &str) -> Result<Vec<Step<'_>>, String> {
    let mut steps = Vec::new();
    for part in path.split('.') {
        let (name, mut rest) = part.find('[').map_or((part, ""), |at| part.split_at(at));
        if name.is_empty() {
            return Err("a key is empty".to_owned());
        }
        steps.push(Step::Field(name));
        while !rest.is_empty() {
            let index = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
            let Some((index, after)) = index else { return Err(format!("{part} must end with ]")) };
            match index.parse() {
                Ok(index) if index <= MAX_INDEX => steps.push(Step::Index(index)),
                _ => return Err(format!("[{index}] must be an index of a list, 0 to {MAX_INDEX}")),
            }
            rest = after;
        }
    }
    Ok(steps)
}

fn set(value: &mut Value, path: &str, found: Value) -> Result<(), String> {
    let mut place = value;
    for step in steps(path)? {
        place = match step {
            Step::Field(name) => {
                if place.is_null() {
                    *place = Value::Object(Map::new());
                }
                let Value::Object(fields) = place else { return Err(format!("the parent of {name} is not an object")) };
                fields.entry(name).or_insert(Value::Null)
            }
            Step::Index(index) => {
                if place.is_null() {
                    *place = Value::Array(Vec::new());
                }
                let Value::Array(items) = place else { return Err(format!("the parent of [{index}] is not a list")) };
                if index > items.len() {
                    return Err(format!("[{index}] is set before [{}]", items.len()));
                }
                if index == items.len() {
                    items.push(Value::Null);
                }
                items.get_mut(index).ok_or("the list is empty")?
            }
        };
    }
    *place = found;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn built(params: &[&str]) -> Result<Value, Error> {
        build("ping", None, &params.iter().map(|param| (*param).to_owned()).collect::<Vec<_>>(), None)
    }

    #[test]
    fn text_parameters_stay_text() {
        let schema = json!({
            "properties": {
                "revision": { "type": ["string", "null"] },
                "any": { "type": ["string", "number"] },
                "deep": { "$ref": "#/$defs/Deep" },
            },
            "$defs": { "Deep": { "properties": { "name": { "type": "string" }, "count": { "type": "integer" } } } },
        });
        let params = ["revision=1", "any=1", "deep.name=true", "deep.count=1", "other=1"].map(str::to_owned);
        let value = build("ping", None, &params, Some(&schema)).unwrap();
        assert_eq!(value, json!({ "revision": "1", "any": 1, "deep": { "name": "true", "count": 1 }, "other": 1 }));
    }

    #[test]
    fn values_are_json_where_they_can_be() {
        let value = built(&["a=1", "b=true", "c=text", "d=[1,2]", "e=\"1\"", "f=", "g=a=b"]).unwrap();
        assert_eq!(value, json!({"a": 1, "b": true, "c": "text", "d": [1, 2], "e": "1", "f": "", "g": "a=b"}));
    }

    #[test]
    fn dots_set_nested_fields_and_the_last_value_applies() {
        let value = built(&["a.b.c=1", "a.b.d=2", "a.b.c=3"]).unwrap();
        assert_eq!(value, json!({"a": {"b": {"c": 3, "d": 2}}}));
    }

    #[test]
    fn invalid_parameters_are_named() {
        for (params, reason) in [
            (&["novalue"][..], "must be key=value"),
            (&["=1"], "must be key=value"),
            (&["a..b=1"], "a key is empty"),
            (&["a=1", "a.b=2"], "the parent of b is not an object"),
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
        assert_eq!(build("ping", Some(&path("a.json", "{\"a\":1}")), &[], None).unwrap(), json!({"a": 1}));
        let yaml = path("a.yaml", "a: 1\nb:\n- x\n");
        assert_eq!(build("ping", Some(&yaml), &["a=2".to_owned()], None).unwrap(), json!({"a": 2, "b": ["x"]}));
        assert!(build("ping", Some(&path("list.json", "[1]")), &[], None).is_err());
        let text = path("text", "a: b\n");
        assert_eq!(build("ping", None, &[format!("manifest=@{text}")], None).unwrap(), json!({"manifest": "a: b\n"}));
    }

    #[test]
    fn indexes_address_items_of_lists() {
        let value = built(&["rules[0].to[0].host=a", "rules[0].to[1].host=b", "rules[1]=c"]).unwrap();
        assert_eq!(value, json!({"rules": [{"to": [{"host": "a"}, {"host": "b"}]}, "c"]}));
        for (param, reason) in [
            ("a[1]=x", "[1] is set before [0]"),
            ("a[-1]=x", "[-1] must be an index"),
            ("a[99999]=x", "[99999] must be an index"),
            ("a[0=x", "must end with ]"),
            ("a[0]b=x", "must end with ]"),
        ] {
            let error = built(&[param]).unwrap_err().to_string();
            assert!(error.contains(reason), "{param}: {error}");
        }
    }

    /// Before: the worker rejected the name of the file as a manifest, and the command became a dead letter.
    #[test]
    fn a_file_without_at_sign_and_a_manifest_as_parameters_are_refused_with_the_right_form() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let schema = json!({"properties": {"manifest": {"type": "string"}}});
        let one = path("one.yaml", "apiVersion: v1\nkind: ConfigMap\n");
        let two = path("two.yaml", "apiVersion: v1\nkind: A\n---\napiVersion: v1\nkind: B\n");
        let error = build("config.apply", None, &[format!("manifest={one}")], Some(&schema)).unwrap_err().to_string();
        assert!(error.contains(&format!("did you mean manifest=@{one}?")), "{error}");
        for file in [&one, &two] {
            let error = build("config.apply", Some(file), &[], Some(&schema)).unwrap_err().to_string();
            assert!(error.contains("sailhand apply -f"), "{error}");
        }
        let error = build("ping", Some(&path("bad.yaml", "a: 1\na: 2\n")), &[], None).unwrap_err().to_string();
        assert!(!error.contains("Options") && !error.contains("from_"), "{error}");
    }

    #[test]
    fn helm_values_are_read_from_their_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("values.yaml");
        std::fs::write(&file, "pilot:\n  autoscaleMin: 2\n").unwrap();
        let schema = json!({"properties": {"values": {"type": "object", "additionalProperties": true}}});
        let params = [format!("values=@{}", file.display()), "values.pilot.autoscaleMax=5".to_owned()];
        let value = build("mesh.install", None, &params, Some(&schema)).unwrap();
        assert_eq!(value, json!({"values": {"pilot": {"autoscaleMin": 2, "autoscaleMax": 5}}}));
    }
}
