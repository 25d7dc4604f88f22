//! Checks `data` of a command against the schema of its verb and describes the first violation. Errors do not contain values,
//! which may be secret.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{JsonType, ValidationError};
use schemars::Schema;
use serde_json::Value;

use super::Error;
use crate::suggest;

/// Maximum number of references within a schema that are followed.
const HOPS: usize = 8;
/// Maximum number of choices or names that an error lists.
const LISTED: usize = 24;
/// Maximum number of characters of a name in an error.
const NAMED: usize = 64;

/// The compiled schema of a verb.
pub struct ParamsValidator {
    schema: Value,
    validator: jsonschema::Validator,
}

impl ParamsValidator {
    /// Compiles a schema.
    ///
    /// # Errors
    /// When it is not a JSON Schema.
    pub fn new(schema: &Schema) -> Result<Self, String> {
        let validator = jsonschema::validator_for(schema.as_value()).map_err(|error| error.to_string())?;
        Ok(Self { schema: schema.as_value().clone(), validator })
    }

    /// Checks `data` of a command.
    ///
    /// # Errors
    /// [`Error::Params`] with the path of the first violation.
    pub fn check(&self, params: &Value) -> Result<(), Error> {
        let Some(error) = self.validator.iter_errors(params).next() else { return Ok(()) };
        Err(self.explain(&error))
    }

    fn explain(&self, error: &ValidationError<'_>) -> Error {
        let path = error.instance_path().as_str();
        let place = place(&self.schema, path);
        let reason = match error.kind() {
            ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
                let mut branches =
                    context.iter().filter_map(|branch| branch.first()).filter(|error| !wants_null(error));
                // "This or null": the violation of this. Of several alternatives, the one that matched deeper in the value is
                // the intended one.
                let deeper = |branch: &&ValidationError<'_>| branch.instance_path().as_str().len() > path.len();
                match (branches.next(), branches.next()) {
                    (Some(only), None) => return self.explain(only),
                    (first, second) => {
                        if let Some(meant) = first.into_iter().chain(second).chain(branches).find(deeper) {
                            return self.explain(meant);
                        }
                    }
                }
                place.and_then(choices).or_else(|| alternatives(context))
            }
            ValidationErrorKind::AdditionalProperties { unexpected } => place.map(|place| unknown(place, unexpected)),
            ValidationErrorKind::Required { property } => property.as_str().map(|name| format!("`{name}` is missing")),
            ValidationErrorKind::Pattern { pattern } => place.map(|place| match place["description"].as_str() {
                Some(about) if about.starts_with("A ") => {
                    format!("must be a {} (pattern {pattern})", about.trim_start_matches("A ").trim_end_matches('.'))
                }
                Some(about) => format!("does not match the pattern {pattern}. {about}"),
                None => format!("does not match the pattern {pattern}"),
            }),
            ValidationErrorKind::Type { .. } => place.and_then(expected_type),
            _ => None,
        };
        Error::Params { path: path.to_owned(), reason: reason.unwrap_or_else(|| error.masked().to_string()) }
    }
}

/// Resolves references, and "this or null" to this.
#[must_use]
pub fn meant<'a>(root: &'a Value, mut schema: &'a Value) -> &'a Value {
    for _ in 0..HOPS {
        let referred = || root.pointer(schema.get("$ref")?.as_str()?.strip_prefix('#')?);
        let wrapped = || {
            let mut branches = schema.get("anyOf")?.as_array()?.iter().filter(|branch| branch["type"] != "null");
            branches.next().filter(|_| branches.next().is_none())
        };
        let Some(next) = referred().or_else(wrapped) else { break };
        schema = next;
    }
    schema
}

/// The schema of the value at a JSON pointer.
fn place<'a>(root: &'a Value, pointer: &str) -> Option<&'a Value> {
    pointer.split('/').skip(1).try_fold(meant(root, root), |schema, step| {
        let named = |schema: &'a Value| schema.get("properties").and_then(|properties| properties.get(step));
        let branches = || schema.get("oneOf")?.as_array()?.iter().find_map(named);
        let any = || schema.get("additionalProperties").or_else(|| schema.get("items"));
        named(schema).or_else(branches).or_else(any).map(|schema| meant(root, schema))
    })
}

fn wants_null(error: &ValidationError<'_>) -> bool {
    matches!(error.kind(), ValidationErrorKind::Type { kind: TypeKind::Single(JsonType::Null) })
}

/// Names of a choice among words, or among objects that differ by their only field.
fn choices(place: &Value) -> Option<String> {
    let branches = place.get("oneOf")?.as_array()?;
    let words: Option<Vec<&str>> = branches.iter().map(|branch| branch["const"].as_str()).collect();
    if let Some(words) = words {
        return Some(format!("must be one of {}", listed(&words)?));
    }
    let fields = branches.iter().filter_map(|branch| branch["properties"].as_object()?.keys().next());
    Some(format!("must be an object with one of {}", listed(&fields.map(String::as_str).collect::<Vec<_>>())?))
}

/// Names of a choice among fields of which one is required.
fn alternatives(branches: &[Vec<ValidationError<'_>>]) -> Option<String> {
    let required = branches.iter().map(|branch| match branch.first()?.kind() {
        ValidationErrorKind::Required { property } => property.as_str().map(|name| format!("`{name}`")),
        _ => None,
    });
    let names: Vec<String> = required.collect::<Option<_>>()?;
    Some(format!("one of {} is required", listed(&names.iter().map(String::as_str).collect::<Vec<_>>())?))
}

fn unknown(place: &Value, unexpected: &[String]) -> String {
    let known: Vec<&str> =
        place["properties"].as_object().into_iter().flat_map(|known| known.keys()).map(String::as_str).collect();
    let Some(first) = unexpected.first() else { return "a name is not known".to_owned() };
    let more = match unexpected.len() - 1 {
        0 => "is not known".to_owned(),
        more => format!("and {more} more are not known"),
    };
    let name: String = first.chars().take(NAMED).collect();
    let hint = match (suggest::nearest(first, known.iter().copied()), listed(&known)) {
        (Some(near), _) => format!("; did you mean `{near}`?"),
        (None, Some(known)) => format!("; known: {known}"),
        (None, None) => String::new(),
    };
    format!("`{}` {more}{hint}", name.escape_debug())
}

fn expected_type(place: &Value) -> Option<String> {
    let name = match &place["type"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        name => name.as_str(),
    };
    let word = match name? {
        "array" => "a list",
        "string" => "text",
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a number",
        "object" => "an object",
        _ => return None,
    };
    Some(format!("must be {word}"))
}

/// The names as a list; `None` for no names, or too many.
fn listed(names: &[&str]) -> Option<String> {
    (1..=LISTED).contains(&names.len()).then(|| names.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn violation(params: &Value) -> String {
        let schema = json!({
            "$defs": {
                "Version": {"type": "string", "pattern": "^1[.]", "description": "A version of Istio, such as `1.30.3`."},
                "Mode": {"oneOf": [{"const": "sidecar", "type": "string"}, {"const": "ambient", "type": "string"}]},
                "Match": {"oneOf": [
                    {"type": "object", "properties": {"exact": {"type": "string"}}, "required": ["exact"], "additionalProperties": false},
                    {"type": "object", "properties": {"regex": {"type": "string"}}, "required": ["regex"], "additionalProperties": false},
                ]},
                "Rule": {"type": "object", "additionalProperties": false, "properties": {
                    "path": {"anyOf": [{"$ref": "#/$defs/Match"}, {"type": "null"}]},
                    "weight": {"type": ["integer", "null"]},
                }},
            },
            "type": "object",
            "additionalProperties": false,
            "required": ["version"],
            "properties": {
                "version": {"$ref": "#/$defs/Version"},
                "mode": {"anyOf": [{"$ref": "#/$defs/Mode"}, {"type": "null"}]},
                "rules": {"type": "array", "items": {"$ref": "#/$defs/Rule"}},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "name": {"type": "string", "maxLength": 3},
            },
        });
        let schema = Schema::try_from(schema).unwrap();
        ParamsValidator::new(&schema).unwrap().check(params).unwrap_err().to_string()
    }

    #[test]
    fn missing_alternatives_are_named() {
        let schema = json!({
            "type": "object",
            "properties": {"revision": {"type": ["string", "null"]}, "all": {"type": "boolean"}},
            "anyOf": [{"required": ["revision"]}, {"required": ["all"], "properties": {"all": {"const": true}}}],
        });
        let schema = Schema::try_from(schema).unwrap();
        let check = |params: &Value| ParamsValidator::new(&schema).unwrap().check(params);
        assert_eq!(check(&json!({})).unwrap_err().to_string(), "data: one of `revision`, `all` is required");
        let refused = check(&json!({"all": false})).unwrap_err().to_string();
        assert!(refused.starts_with("data/all: "), "{refused}");
        assert!(check(&json!({"all": true})).is_ok());
    }

    #[test]
    fn violations_are_described() {
        for (params, reason) in [
            (json!({}), "data: `version` is missing"),
            (json!({"version": "2"}), "data/version: must be a version of Istio, such as `1.30.3` (pattern ^1[.])"),
            (json!({"version": "1.1", "verison": 1}), "data: `verison` is not known; did you mean `version`?"),
            (
                json!({"version": "1.1", "zzz": 1, "zzzz": 1}),
                "data: `zzz` and 1 more are not known; known: labels, mode, name, rules, version",
            ),
            (json!({"version": "1.1", "mode": "side"}), "data/mode: must be one of sidecar, ambient"),
            (json!({"version": "1.1", "rules": {}}), "data/rules: must be a list"),
            (json!({"version": "1.1", "rules": [{"weight": "9"}]}), "data/rules/0/weight: must be a whole number"),
            (
                json!({"version": "1.1", "rules": [{"path": {"is": ""}}]}),
                "data/rules/0/path: must be an object with one of exact, regex",
            ),
            (json!({"version": "1.1", "rules": [{"path": {"regex": 1}}]}), "data/rules/0/path/regex: must be text"),
            (json!({"version": "1.1", "labels": {"a": 1}}), "data/labels/a: must be text"),
            (json!({"version": "1.1", "name": "secret"}), "data/name: value is longer than 3 characters"),
        ] {
            assert_eq!(violation(&params), reason);
        }
    }
}
