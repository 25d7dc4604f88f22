//! Walks an object and its schema: unknown fields, types, alternatives, validation rules. Limits of single values are
//! checked in `values`.
//!
//! Source: Kubernetes' structural schemas (`apiextensions-apiserver/pkg/apiserver/schema`): unknown fields are pruned,
//! forbidden nulls are dropped, defaults are set, then values and finally rules are validated.

use super::schema::{Schema, Schemas, Type};
use super::{cel, values};
use crate::field::Field;
use crate::{Fix, Value};
use sailhand_base::suggest;

/// An error of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub trouble: Trouble,
    /// Path of the field; empty for the whole object.
    pub field: String,
    /// What is wrong, in one sentence.
    pub message: String,
    /// For an unknown field: the most similar known one.
    pub suggestion: Option<String>,
    /// The change that resolves it.
    pub fix: Option<Fix>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Unknown field.
    Unknown,
    /// Wrong type.
    Type,
    /// A null that the schema forbids: server-side apply rejects it, other requests drop it.
    Null,
    /// Missing required field.
    Required,
    /// Out of range, not in the enum, or wrong format.
    Value,
    /// A CEL rule failed.
    Rule,
}

/// All errors of an object, in the order of its fields.
#[must_use]
pub fn check(root: &Value, schema: &Schema, schemas: &Schemas) -> Vec<Problem> {
    let mut walk = Walk { schemas, problems: Vec::new(), many: false };
    for (key, value) in root.entries() {
        if let Some(part) = schema.properties.get(key.as_str()) {
            walk.value(value, schemas.node(*part), &Field::root(key));
            if key == "metadata" {
                // The API server validates metadata itself and ignores a null there.
                walk.problems.retain(|problem| problem.trouble != Trouble::Null);
            }
        } else if !matches!(key.as_str(), "apiVersion" | "kind" | "status") {
            walk.unknown(schema, &Field::root(key), key, "the object");
        }
    }
    for required in schema.required.iter().filter(|name| root.get(name).is_null()) {
        let message = format!("`{required}` is required");
        walk.add_of(Trouble::Required, String::new(), message);
    }
    // As in the API server, rules are evaluated only if the structure is valid.
    if walk.problems.iter().all(|problem| matches!(problem.trouble, Trouble::Unknown | Trouble::Null | Trouble::Value))
        && !walk.many
    {
        for (key, value) in root.entries() {
            if let Some(part) = schema.properties.get(key.as_str()) {
                walk.rules(value, *part, &Field::root(key));
            }
        }
    }
    walk.problems
}

struct Walk<'a> {
    schemas: &'a Schemas,
    problems: Vec<Problem>,
    /// A value exceeds its maximum length, so that the cost of rules on it is not bounded.
    many: bool,
}

impl Walk<'_> {
    fn add(&mut self, trouble: Trouble, field: &Field<'_>, message: String) {
        self.add_of(trouble, field.to_string(), message);
    }

    fn add_of(&mut self, trouble: Trouble, field: String, message: String) {
        self.problems.push(Problem { trouble, field, message, suggestion: None, fix: None });
    }

    fn unknown(&mut self, schema: &Schema, field: &Field<'_>, name: &str, place: &str) {
        let suggestion = suggest::nearest(name, schema.properties.keys().map(|key| &**key));
        let mut message = format!("unknown field `{name}` in {place}");
        match suggestion {
            Some(known) => message.extend(["; did you mean `", known, "`?"]),
            None if schema.properties.is_empty() || schema.properties.len() > 12 => {}
            None => {
                let known: Vec<&str> = schema.properties.keys().map(|key| &**key).collect();
                message.extend([", only ", &known.join(", ")]);
            }
        }
        let certain = suggest::certain(name, schema.properties.keys().map(|key| &**key));
        self.problems.push(Problem {
            trouble: Trouble::Unknown,
            field: field.to_string(),
            message,
            suggestion: suggestion.map(str::to_owned),
            fix: certain.map(|key| Fix::RenameKey(key.to_owned())),
        });
    }

    fn value(&mut self, node: &Value, schema: &Schema, field: &Field<'_>) {
        if node.is_null() {
            if !schema.nullable && schema.default.is_none() {
                self.add(Trouble::Null, field, format!("must be {}, but is null", article(schema)));
            }
            return;
        }
        if !is_of(node, schema) {
            let message = format!("must be {}, but is {}", article(schema), described(node));
            self.add(Trouble::Type, field, message);
            return;
        }
        match node {
            Value::Map(entries) => {
                for (key, value) in entries {
                    if let Some(part) = schema.properties.get(key.as_str()).copied().or(schema.additional_properties) {
                        self.value(value, self.schemas.node(part), &field.key(key));
                    } else if !schema.preserve_unknown {
                        self.unknown(schema, &field.key(key), key, &format!("`{field}`"));
                    }
                }
                for name in &schema.required {
                    if self.is_missing(node, schema, name) {
                        self.add(Trouble::Required, field, format!("`{name}` is required"));
                    }
                }
            }
            Value::List(items) => {
                if let Some(part) = schema.items {
                    let part = self.schemas.node(part);
                    for (index, item) in items.iter().enumerate() {
                        if item.is_null() && !part.nullable {
                            let message = format!("must be {}, but is null", article(part));
                            self.add(Trouble::Type, &field.index(index), message);
                        } else {
                            self.value(item, part, &field.index(index));
                        }
                    }
                }
            }
            _ => {}
        }
        for trouble in values::check(node, schema, self.schemas) {
            self.many |= trouble.is_length;
            self.problems.push(Problem {
                trouble: Trouble::Value,
                field: field.to_string(),
                message: trouble.message,
                suggestion: None,
                fix: trouble.fix,
            });
        }
        for message in self.alternatives(node, schema) {
            self.add(Trouble::Value, field, message);
        }
    }

    fn is_missing(&self, node: &Value, schema: &Schema, name: &str) -> bool {
        let part = schema.properties.get(name).map(|part| self.schemas.node(*part));
        match node.entries().iter().find(|(key, _)| key == name) {
            Some((_, value)) => value.is_null() && part.is_some_and(|part| part.default.is_none() && !part.nullable),
            None => part.is_none_or(|part| part.default.is_none()),
        }
    }

    fn alternatives(&self, node: &Value, schema: &Schema) -> Vec<String> {
        let fits = |part: &usize| self.fits(node, self.schemas.node(*part), schema);
        let mut wrong = Vec::new();
        if !schema.all_of.iter().all(fits) {
            wrong.push("does not satisfy all of its required schemas".to_owned());
        }
        if !schema.any_of.is_empty() && !schema.any_of.iter().any(fits) {
            wrong.push(self.choice("one of these is required", &schema.any_of));
        }
        if !schema.one_of.is_empty() {
            let fitting: Vec<usize> = schema.one_of.iter().copied().filter(|part| fits(part)).collect();
            match fitting.len() {
                1 => {}
                // `not: {anyOf: …}` is how an alternative allows that none of the fields is set.
                0 => wrong.push(self.choice("exactly one of these must be set", &schema.one_of)),
                _ => wrong.push(self.choice("only one of these may be set", &fitting)),
            }
        }
        if schema.not.as_ref().is_some_and(fits) {
            wrong.push("matches a forbidden schema".to_owned());
        }
        wrong
    }

    fn choice(&self, text: &str, parts: &[usize]) -> String {
        let mut names: Vec<String> = Vec::new();
        for part in parts {
            for name in &self.schemas.node(*part).required {
                let name = format!("`{name}`");
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        if names.is_empty() {
            "matches none of its alternatives".to_owned()
        } else {
            format!("{text}: {}", names.join(", "))
        }
    }

    /// Whether a value satisfies a part that only constrains, inside `oneOf` and similar; `whole` is the schema with
    /// the structure and the defaults.
    fn fits(&self, node: &Value, part: &Schema, whole: &Schema) -> bool {
        let fits = |other: &usize| self.fits(node, self.schemas.node(*other), whole);
        let of = |name: &str| whole.properties.get(name).map(|whole| self.schemas.node(*whole));
        let value = |name: &str| match node.get(name) {
            Value::Null => of(name).and_then(|whole| whole.default.as_ref()).unwrap_or(&Value::Null),
            value => value,
        };
        is_of(node, part)
            && part.required.iter().all(|name| value(name).is_set())
            && part.properties.iter().all(|(name, part)| {
                let (value, part) = (value(name), self.schemas.node(*part));
                value.is_null() || self.fits(value, part, of(name).unwrap_or(part))
            })
            && values::check(node, part, self.schemas).next().is_none()
            && part.all_of.iter().all(fits)
            && (part.any_of.is_empty() || part.any_of.iter().any(fits))
            && (part.one_of.is_empty() || part.one_of.iter().filter(|other| fits(other)).count() == 1)
            && part.not.as_ref().is_none_or(|other| !fits(other))
    }

    fn rules(&mut self, node: &Value, part: usize, field: &Field<'_>) {
        if node.is_null() || !self.schemas.has_rules(part) {
            return;
        }
        let schema = self.schemas.node(part);
        for rule in schema.rules.iter().filter_map(|rule| self.schemas.rule(*rule)) {
            // Unsupported rules are listed in the documentation.
            let Ok(expr) = rule.expr() else { continue };
            match cel::holds(expr, node, schema, self.schemas) {
                Ok(true) | Err(cel::Error::Steps) => {}
                Ok(false) => self.add(Trouble::Rule, field, rule.message().to_owned()),
                Err(error) => {
                    let message = format!("{} (the rule failed to evaluate: {error})", rule.message());
                    self.add(Trouble::Rule, field, message);
                }
            }
        }
        match node {
            Value::Map(entries) => {
                for (key, value) in entries {
                    let part = schema.properties.get(key.as_str()).copied().or(schema.additional_properties);
                    if let Some(part) = part {
                        self.rules(value, part, &field.key(key));
                    }
                }
            }
            Value::List(items) => {
                if let Some(part) = schema.items {
                    for (index, item) in items.iter().enumerate() {
                        self.rules(item, part, &field.index(index));
                    }
                }
            }
            _ => {}
        }
    }
}

fn is_of(node: &Value, schema: &Schema) -> bool {
    if schema.int_or_string {
        return matches!(node, Value::Int(_) | Value::Str(_));
    }
    match (schema.kind, node) {
        (Type::Integer, Value::Float(value)) => value.fract() == 0.0,
        (Type::Any, _)
        | (Type::Object, Value::Map(_))
        | (Type::Array, Value::List(_))
        | (Type::String, Value::Str(_))
        | (Type::Integer, Value::Int(_))
        | (Type::Number, Value::Int(_) | Value::Float(_))
        | (Type::Boolean, Value::Bool(_)) => true,
        _ => false,
    }
}

fn article(schema: &Schema) -> &'static str {
    match schema.kind {
        _ if schema.int_or_string => "an integer or a string",
        Type::Any => "another type",
        Type::Object => "a mapping",
        Type::Array => "a list",
        Type::String => "a string",
        Type::Integer => "an integer",
        Type::Number => "a number",
        Type::Boolean => "true or false",
    }
}

/// A short form of the value; unquoted `1` and `yes` are not strings in YAML.
fn described(node: &Value) -> String {
    match node {
        Value::Map(_) => "a mapping".to_owned(),
        Value::List(_) => "a list".to_owned(),
        Value::Str(text) => format!("the string {:?}", shortened(text)),
        _ => format!("{}, of type {}", node.scalar_text(), node.type_name()),
    }
}

/// At most 40 characters.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
