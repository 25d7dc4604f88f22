//! The fields of a form, from the JSON Schema of a verb, and the parameters from what a browser sends.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::event::params::meant;

/// Objects deeper than this are edited as JSON or YAML.
const DEPTH: usize = 2;
/// A text that may be longer has an input of several lines.
const LINE: u64 = 2_000;
/// The parameter that a button of the form sets.
pub(super) const DRY_RUN: &str = "dry_run";

/// Inputs of a form: JSON pointer of the parameter to its texts. A list of choices has several.
pub(super) type Inputs = BTreeMap<String, Vec<String>>;

/// One parameter.
#[derive(Debug)]
pub(super) struct Field<'a> {
    /// JSON pointer below the parameters, such as `/service/name`.
    pub(super) pointer: String,
    /// Its last step.
    pub(super) name: &'a str,
    /// Description of the schema; may be empty.
    pub(super) about: &'a str,
    /// Default of the schema.
    pub(super) default: Option<&'a Value>,
    /// Whether the schema requires it.
    pub(super) is_required: bool,
    /// How it is edited.
    pub(super) kind: Kind<'a>,
}

/// How a parameter is edited.
#[derive(Debug)]
pub(super) enum Kind<'a> {
    /// A checkbox.
    Bool,
    /// `true`, `false` or absent.
    OptionalBool,
    /// One of several words, each with its description.
    Choice(Vec<(&'a str, &'a str)>),
    /// Any number of several words.
    Choices(Vec<(&'a str, &'a str)>),
    /// A number.
    Number { whole: bool, least: Option<&'a Value>, most: Option<&'a Value> },
    /// One line of text.
    Line { most: Option<u64> },
    /// Several lines of text.
    Text,
    /// A list of texts, one on each line.
    Lines,
    /// An object with known fields.
    Group(Vec<Field<'a>>),
    /// Anything else, as JSON or YAML.
    Json,
}

/// A parameter that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    /// JSON pointer of the parameter.
    pub(super) pointer: String,
    /// Cause of the error, as in the message.
    pub(super) reason: String,
}

/// The parameters of a schema, required ones first. `dry_run` is left out.
pub(super) fn fields(schema: &Value) -> Vec<Field<'_>> {
    below(schema, schema, "", 0)
}

/// Whether the verb has a dry run.
pub(super) fn has_dry_run(schema: &Value) -> bool {
    schema["properties"].get(DRY_RUN).is_some()
}

fn below<'a>(root: &'a Value, object: &'a Value, pointer: &str, depth: usize) -> Vec<Field<'a>> {
    let required = object["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    let properties = object["properties"].as_object().into_iter().flatten();
    let mut fields: Vec<_> = properties
        .filter(|(name, _)| depth > 0 || *name != DRY_RUN)
        .map(|(name, place)| {
            let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
            let schema = meant(root, place);
            let about = place["description"].as_str().or(schema["description"].as_str()).unwrap_or_default();
            Field {
                name,
                about,
                default: place.get("default").filter(|default| !default.is_null()),
                is_required: required.iter().any(|one| one == name),
                kind: kind(root, schema, &pointer, depth),
                pointer,
            }
        })
        .collect();
    fields.sort_by_key(|field| !field.is_required);
    fields
}

fn kind<'a>(root: &'a Value, schema: &'a Value, pointer: &str, depth: usize) -> Kind<'a> {
    if let Some(words) = words(schema) {
        return Kind::Choice(words);
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    let is_optional = types.contains(&"null");
    let mut types = types.into_iter().filter(|one| *one != "null");
    let (Some(only), None) = (types.next(), types.next()) else { return Kind::Json };
    let (least, most) = (schema.get("minimum"), schema.get("maximum"));
    match only {
        "boolean" if is_optional => Kind::OptionalBool,
        "boolean" => Kind::Bool,
        "integer" => Kind::Number { whole: true, least, most },
        "number" => Kind::Number { whole: false, least, most },
        "string" => match schema["maxLength"].as_u64() {
            Some(most) if most > LINE => Kind::Text,
            most => Kind::Line { most },
        },
        "array" => {
            let items = schema.get("items").map(|items| meant(root, items));
            match items.and_then(words) {
                Some(words) => Kind::Choices(words),
                None if items.is_some_and(|items| items["type"] == "string") => Kind::Lines,
                None => Kind::Json,
            }
        }
        "object" if depth + 1 < DEPTH && schema.get("oneOf").is_none() && schema["properties"].is_object() => {
            Kind::Group(below(root, schema, pointer, depth + 1))
        }
        _ => Kind::Json,
    }
}

/// The words of an enumeration, with their descriptions.
fn words(schema: &Value) -> Option<Vec<(&str, &str)>> {
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().map(|word| Some((word.as_str()?, ""))).collect();
    }
    let branches = schema["oneOf"].as_array()?;
    branches
        .iter()
        .map(|branch| Some((branch["const"].as_str()?, branch["description"].as_str().unwrap_or_default())))
        .collect()
}

impl Field<'_> {
    /// Whether its default is `true`.
    pub(super) fn defaults_to_true(&self) -> bool {
        self.default == Some(&Value::Bool(true))
    }
}

/// Inputs of a form that has these parameters; of an empty form for `null`.
pub(super) fn inputs(fields: &[Field<'_>], params: &Value) -> Inputs {
    let mut found = Inputs::new();
    for field in fields {
        let value = params.get(field.name).unwrap_or(&Value::Null);
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let texts = match (&field.kind, value) {
            (Kind::Group(inner), _) => {
                found.extend(inputs(inner, value));
                continue;
            }
            (Kind::Bool, Value::Null) if field.defaults_to_true() => vec!["true".to_owned()],
            (_, Value::Null) => continue,
            (Kind::Bool, Value::Bool(false)) => Vec::new(),
            (Kind::Choices(_), Value::Array(entries)) => {
                entries.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            (Kind::Lines, Value::Array(entries)) => {
                let lines: Vec<_> = entries.iter().filter_map(Value::as_str).collect();
                vec![lines.join("\n")]
            }
            (Kind::Json, _) => vec![serde_json::to_string_pretty(value).unwrap_or(text)],
            _ => vec![text],
        };
        found.insert(field.pointer.clone(), texts);
    }
    found
}

/// The parameters. Empty inputs and defaults are left out.
///
/// # Errors
/// The first parameter that is neither JSON nor YAML where it must be. The schema is not checked.
pub(super) fn params(fields: &[Field<'_>], inputs: &Inputs) -> Result<Map<String, Value>, Unreadable> {
    let mut found = Map::new();
    for field in fields {
        let texts = inputs.get(&field.pointer).map(Vec::as_slice).unwrap_or_default();
        let first = texts.first().map(|text| text.replace("\r\n", "\n")).unwrap_or_default();
        let value = match &field.kind {
            Kind::Bool => Some(Value::Bool(!first.is_empty())).filter(|value| *value != (field.defaults_to_true())),
            Kind::OptionalBool => first.parse().ok().map(Value::Bool),
            Kind::Number { .. } => some(first.trim()).map(number),
            Kind::Choice(_) | Kind::Line { .. } => some(first.trim()).map(Value::from),
            Kind::Text => some(&first).map(Value::from),
            Kind::Choices(_) => Some(Value::from(texts)).filter(|_| !texts.is_empty()),
            Kind::Lines => {
                let lines: Vec<_> = first.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
                Some(Value::from(lines.clone())).filter(|_| !lines.is_empty())
            }
            Kind::Json => match some(first.trim()) {
                Some(text) => {
                    Some(json_or_yaml(text).map_err(|reason| Unreadable { pointer: field.pointer.clone(), reason })?)
                }
                None => None,
            },
            Kind::Group(inner) => {
                let inner = params(inner, inputs)?;
                Some(Value::Object(inner)).filter(|value| *value != Value::Object(Map::new()))
            }
        };
        if let Some(value) = value {
            found.insert(field.name.to_owned(), value);
        }
    }
    Ok(found)
}

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// A text that is not a number stays a text, which the schema refuses.
fn number(text: &str) -> Value {
    serde_json::from_str(text).ok().filter(Value::is_number).unwrap_or_else(|| Value::from(text))
}

fn json_or_yaml(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        Err(_) => serde_saphyr::from_str(text).map_err(|error| format!("is neither JSON nor YAML: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "$defs": {
                "Mode": { "oneOf": [{ "const": "strict", "description": "Only mTLS." }, { "const": "off" }] },
                "Service": { "type": "object", "required": ["name"],
                    "properties": { "name": { "type": "string" }, "port": { "type": "integer" }, "deep": { "type": "object", "properties": { "a": { "type": "string" } } } } },
            },
            "required": ["name"],
            "properties": {
                "any": { "anyOf": [{ "type": "string" }, { "type": "integer" }] },
                "dry_run": { "type": "boolean", "default": false },
                "kinds": { "type": "array", "items": { "enum": ["a", "b"] } },
                "manifest": { "type": "string", "maxLength": 8_388_608 },
                "mode": { "anyOf": [{ "$ref": "#/$defs/Mode" }, { "type": "null" }] },
                "name": { "type": "string", "maxLength": 50 },
                "namespaces": { "type": "array", "items": { "type": "string" } },
                "prune": { "type": "boolean", "default": true },
                "ratio": { "type": ["number", "null"] },
                "rules": { "type": "array", "items": { "type": "object" } },
                "service": { "$ref": "#/$defs/Service" },
                "switch": { "type": ["boolean", "null"] },
            },
        })
    }

    #[test]
    fn every_parameter_survives_the_form() {
        let schema = schema();
        let fields = fields(&schema);
        assert_eq!(fields[0].name, "name");
        assert!(fields.iter().all(|field| field.name != DRY_RUN));
        let wanted = json!({
            "any": 1, "kinds": ["a", "b"], "manifest": "a: 1\nb: 2\n", "mode": "strict", "name": "x",
            "namespaces": ["one", "two"], "prune": false, "ratio": 0.5, "rules": [{ "to": [1, { "b": null }] }],
            "service": { "name": "s", "port": 80, "deep": { "a": "b" } }, "switch": false,
        });
        assert_eq!(Value::Object(params(&fields, &inputs(&fields, &wanted)).unwrap()), wanted);
    }

    #[test]
    fn empty_form_has_no_parameters() {
        let schema = schema();
        let fields = fields(&schema);
        assert_eq!(params(&fields, &inputs(&fields, &Value::Null)).unwrap(), Map::new());
    }

    /// Before: a switch that is on by default was off in the form of an example without its group, and was sent as `false`.
    #[test]
    fn example_without_a_group_leaves_its_defaults() {
        let wait = json!({ "type": "object", "properties": { "all": { "type": "boolean", "default": true } } });
        let schema = json!({ "properties": { "wait": wait } });
        let fields = fields(&schema);
        assert_eq!(params(&fields, &inputs(&fields, &json!({}))).unwrap(), Map::new());
    }

    #[test]
    fn line_ends_of_forms_become_line_feeds() {
        let schema = schema();
        let fields = fields(&schema);
        let inputs = Inputs::from([
            ("/manifest".to_owned(), vec!["a: 1\r\nb: 2\r\n".to_owned()]),
            ("/rules".to_owned(), vec!["- to: a\r\n  weight: 1\r\n".to_owned()]),
            ("/ratio".to_owned(), vec!["many".to_owned()]),
            ("/prune".to_owned(), vec!["true".to_owned()]),
        ]);
        let found = Value::Object(params(&fields, &inputs).unwrap());
        assert_eq!(
            found,
            json!({ "manifest": "a: 1\nb: 2\n", "ratio": "many", "rules": [{ "to": "a", "weight": 1 }] })
        );
    }

    #[test]
    fn unreadable_parameter_is_named() {
        let schema = schema();
        let fields = fields(&schema);
        let inputs = Inputs::from([("/rules".to_owned(), vec!["{ a: [".to_owned()])]);
        let error = params(&fields, &inputs).unwrap_err();
        assert!(error.pointer == "/rules" && error.reason.contains("neither JSON nor YAML"), "{error:?}");
    }
}
