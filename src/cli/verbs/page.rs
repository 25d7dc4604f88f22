//! The page of one verb: its parameters out of their JSON Schema, one entry for each, and an example to copy.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::cli::output::{self, GOOD, QUIET, STRONG, styled};
use crate::event::params;
use crate::prose;

/// Widest line of a page, columns.
const WIDTH: usize = 100;
/// Of a list of choices beside the name.
const SHORT: usize = 60;
/// Parameters below parameters. No schema of ours refers to itself; this is for one that will.
const DEEPEST: usize = 8;

/// The help page of a verb.
pub(super) fn page(verb: &str, summary: &str, schema: &Value, example: &Value) -> String {
    let mut page = Page { root: schema, text: format!("{} – {summary}\n", styled(STRONG, verb)) };
    page.heading("Parameters");
    if properties(schema).next().is_none() {
        page.paragraph(1, "none");
    }
    page.fields(schema, 1);
    page.heading("Example");
    page.example(verb, schema, example);
    page.text.pop();
    page.text
}

struct Page<'a> {
    root: &'a Value,
    text: String,
}

impl<'a> Page<'a> {
    fn heading(&mut self, title: &str) {
        let _ = writeln!(self.text, "\n{}", styled(STRONG, title));
    }

    fn fields(&mut self, object: &'a Value, depth: usize) {
        if depth > DEEPEST {
            return;
        }
        // What must be there comes first.
        let (required, others): (Vec<_>, Vec<_>) = properties(object).partition(|(name, _)| is_required(object, name));
        for (name, field) in required {
            self.field(name, field, true, depth);
        }
        for (name, field) in others {
            self.field(name, field, false, depth);
        }
    }

    fn field(&mut self, name: &str, field: &'a Value, required: bool, depth: usize) {
        let kind = self.meant(field);
        let item = kind.get("items").map(|items| self.meant(items));
        let indent = "  ".repeat(depth);
        let _ = write!(self.text, "{indent}{} {}", styled(STRONG, name), styled(QUIET, self.kind(field)));
        if required {
            let _ = write!(self.text, " {}", styled(GOOD, "required"));
        }
        if let Some(default) = field.get("default").filter(|default| says_something(default)) {
            let _ = write!(self.text, " {}", styled(QUIET, format_args!("[default: {}]", plain(default))));
        }
        self.text.push('\n');
        let about = field.get("description").or_else(|| kind.get("description")).and_then(Value::as_str);
        self.paragraph(depth + 2, about.unwrap_or_default());
        for choice in kind.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
            self.choice(choice, depth + 2);
        }
        self.fields(item.unwrap_or(kind), depth + 1);
        // The values of a map whose keys are the user's.
        if let Some(values) = kind.get("additionalProperties").filter(|values| values.is_object()) {
            self.fields(self.meant(values), depth + 1);
        }
    }

    fn choice(&mut self, choice: &Value, depth: usize) {
        let name = choice_name(choice);
        match choice.get("description").and_then(Value::as_str) {
            Some(about) => self.paragraph(depth, &format!("{name}: {about}")),
            None => self.paragraph(depth, &name),
        }
    }

    /// The type in a few words, such as `list of text` or `1 to 100`.
    fn kind(&self, field: &'a Value) -> String {
        let kind = self.meant(field);
        if let Some(choices) = kind.get("oneOf").and_then(Value::as_array) {
            let names = choices.iter().map(choice_name).collect::<Vec<_>>().join(" | ");
            // Each is described below.
            let names = if names.len() > SHORT { "one of these" } else { names.as_str() };
            let are_words = choices.iter().all(|choice| choice.get("const").is_some());
            return if are_words { names.to_owned() } else { format!("object with {names}") };
        }
        let name = match &kind["type"] {
            Value::Array(names) => names.iter().find_map(|name| name.as_str().filter(|name| *name != "null")),
            name => name.as_str(),
        };
        let range = match (&kind["minimum"], &kind["maximum"]) {
            (Value::Number(least), Value::Number(most)) if most.as_i64() < Some(i32::MAX.into()) => {
                format!(", {least} to {most}")
            }
            (Value::Number(least), _) => format!(", {least} or more"),
            _ => String::new(),
        };
        match name {
            Some("array") => {
                format!("list of {}", kind.get("items").map_or("anything".to_owned(), |items| self.kind(items)))
            }
            Some("string") => "text".to_owned(),
            Some("boolean") => "true | false".to_owned(),
            Some("integer") => format!("integer{range}"),
            Some("number") => format!("number{range}"),
            Some("object") => match kind.get("additionalProperties").filter(|values| values.is_object()) {
                Some(values) => format!("map of {}", self.kind(values)),
                None => "object".to_owned(),
            },
            _ => "anything".to_owned(),
        }
    }

    fn meant(&self, schema: &'a Value) -> &'a Value {
        params::meant(self.root, schema)
    }

    /// As one types it: flags where all is plain, else a file. What is the default anyway is left out.
    fn example(&mut self, verb: &str, schema: &Value, example: &Value) {
        let told: Map<_, _> = example
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, value)| schema["properties"][name.as_str()].get("default") != Some(value))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let command = format!("  sailhand submit {verb} --target dev --wait");
        let is_plain = |value: &Value| match value {
            Value::String(text) => !text.contains(|c: char| c.is_whitespace() || "'\"$`\\".contains(c)),
            value => !(value.is_object() || value.is_array()),
        };
        if told.values().all(is_plain) {
            let _ = write!(self.text, "{command}");
            for (name, value) in &told {
                let _ = write!(self.text, " -p {name}={}", plain(value));
            }
            self.text.push('\n');
        } else {
            let _ = writeln!(self.text, "{command} --file - <<'END'\n{:#}\nEND", Value::Object(told));
        }
    }

    fn paragraph(&mut self, depth: usize, text: &str) {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if !text.is_empty() {
            let indent = 2 * depth;
            let folded = prose::fold(&text, indent, indent, Some(output::width().unwrap_or(WIDTH).min(WIDTH)));
            let _ = writeln!(self.text, "{:indent$}{folded}", "");
        }
    }
}

fn properties(object: &Value) -> impl Iterator<Item = (&str, &Value)> {
    object
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, field)| (name.as_str(), field))
}

fn is_required(object: &Value, name: &str) -> bool {
    object["required"].as_array().is_some_and(|names| names.iter().any(|other| other == name))
}

/// An empty list or object as the default is not worth a line.
fn says_something(default: &Value) -> bool {
    match default {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    }
}

/// A word, or the field that makes an object this one.
fn choice_name(choice: &Value) -> String {
    match choice.get("const") {
        Some(value) => plain(value),
        None => properties(choice).map(|(name, _)| name).collect::<Vec<_>>().join(" and "),
    }
}

/// As it is typed after `-p NAME=`.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(schema: &Value, example: &Value) -> String {
        anstream::adapter::strip_str(&page("shop.open", "Opens it.", schema, example)).to_string()
    }

    #[test]
    fn each_kind_of_parameter_is_described() {
        let schema = json!({
            "$defs": {
                "Mode": {"description": "How.", "oneOf": [{"const": "a", "description": "This way."}, {"const": "b"}]},
                "Part": {"type": "object", "required": ["name"], "properties": {
                    "name": {"type": "string", "description": "Its name."},
                    "size": {"type": ["integer", "null"], "minimum": 1, "maximum": 9},
                }},
            },
            "properties": {
                "deep": {"type": "object", "additionalProperties": {"type": "array", "items": {"$ref": "#/$defs/Part"}}},
                "fit": {"oneOf": [{"properties": {"exact": {}}, "description": "Just so."}, {"properties": {"regex": {}}}]},
                "force": {"type": "boolean", "default": false},
                "mode": {"anyOf": [{"$ref": "#/$defs/Mode"}, {"type": "null"}]},
                "parts": {"type": "array", "items": {"$ref": "#/$defs/Part"}, "default": []},
                "zone": {"type": "string", "description": "Where."},
            },
            "required": ["zone"],
        });
        let page = read(&schema, &json!({"zone": "x", "force": false, "mode": "a"}));
        assert_eq!(
            page,
            "shop.open – Opens it.\n\
             \n\
             Parameters\n\
             \x20 zone text required\n\
             \x20     Where.\n\
             \x20 deep map of list of object\n\
             \x20 fit object with exact | regex\n\
             \x20     exact: Just so.\n\
             \x20     regex\n\
             \x20 force true | false [default: false]\n\
             \x20 mode a | b\n\
             \x20     How.\n\
             \x20     a: This way.\n\
             \x20     b\n\
             \x20 parts list of object\n\
             \x20   name text required\n\
             \x20       Its name.\n\
             \x20   size integer, 1 to 9\n\
             \n\
             Example\n\
             \x20 sailhand submit shop.open --target dev --wait -p mode=a -p zone=x"
        );
    }

    #[test]
    fn an_example_with_structure_is_a_file() {
        let page = read(&json!({"properties": {"a": {}}}), &json!({"a": [1]}));
        assert!(page.ends_with("--file - <<'END'\n{\n  \"a\": [\n    1\n  ]\n}\nEND"), "{page}");
    }

    #[test]
    fn long_descriptions_are_folded() {
        let page =
            read(&json!({"properties": {"a": {"type": "string", "description": "word ".repeat(60)}}}), &json!({}));
        assert!(page.lines().all(|line| line.chars().count() <= WIDTH), "{page}");
        assert_eq!(page.matches("word").count(), 60);
    }
}
