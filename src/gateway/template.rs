//! Parameters from a payload: JSON pointers, and texts with placeholders such as `{/involvedObject/name}`.

use serde_json::{Map, Value};

/// Longest value inside a longer text, in characters.
const LONGEST: usize = 256;

/// Where pointers are looked up: in an element of the payload, then in the whole payload.
pub(super) struct Payload<'a> {
    pub(super) element: &'a Value,
    pub(super) whole: &'a Value,
}

impl Payload<'_> {
    /// The value at a pointer.
    pub(super) fn at(&self, pointer: &str) -> Option<&Value> {
        self.element.pointer(pointer).or_else(|| self.whole.pointer(pointer))
    }

    /// A scalar at a pointer, as text.
    pub(super) fn text(&self, pointer: &str) -> Option<String> {
        match self.at(pointer)? {
            Value::String(text) => Some(text.clone()),
            value @ (Value::Bool(_) | Value::Number(_)) => Some(value.to_string()),
            _ => None,
        }
    }

    /// Fills the placeholders of all texts in a value.
    ///
    /// # Errors
    /// A pointer that the payload does not have, or a value that may not be part of a longer text.
    pub(super) fn fill(&self, template: &Value) -> Result<Value, String> {
        match template {
            Value::String(text) => self.fill_text(text),
            Value::Array(values) => values.iter().map(|value| self.fill(value)).collect(),
            Value::Object(fields) => Ok(Value::Object(self.fill_fields(fields)?)),
            other => Ok(other.clone()),
        }
    }

    /// As [`Payload::fill`], for an object.
    pub(super) fn fill_fields(&self, fields: &Map<String, Value>) -> Result<Map<String, Value>, String> {
        fields.iter().map(|(name, value)| Ok((name.clone(), self.fill(value)?))).collect()
    }

    /// A text that is one placeholder becomes the value itself, of any type.
    fn fill_text(&self, template: &str) -> Result<Value, String> {
        let whole = template.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        if let Some(pointer) = whole.filter(|pointer| pointer.starts_with('/') && !pointer.contains(['{', '}'])) {
            return self.at(pointer).cloned().ok_or_else(|| missing(pointer));
        }
        let (mut filled, mut rest) = (String::new(), template);
        while let Some(start) = rest.find("{/") {
            let Some(length) = rest[start..].find('}') else { break };
            let pointer = &rest[start + 1..start + length];
            filled.push_str(&rest[..start]);
            filled.push_str(&self.part(pointer)?);
            rest = &rest[start + length + 1..];
        }
        filled.push_str(rest);
        Ok(Value::String(filled))
    }

    /// A value inside a longer text, such as a manifest. Its characters cannot change the structure of that text.
    fn part(&self, pointer: &str) -> Result<String, String> {
        let text = self.text(pointer).ok_or_else(|| missing(pointer))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-:/@+".contains(c);
        if text.chars().count() <= LONGEST && text.chars().all(plain) {
            Ok(text)
        } else {
            Err(format!("the value at {pointer} has characters that may not be part of a longer text"))
        }
    }
}

fn missing(pointer: &str) -> String {
    format!("the payload has no value at {pointer}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fill(template: &Value) -> Result<Value, String> {
        let whole = json!({ "name": "shop", "n": 3, "list": [1, 2], "text": "a\nb: c", "a/b": "slash" });
        let element = json!({ "name": "cart" });
        Payload { element: &element, whole: &whole }.fill(template)
    }

    #[test]
    fn placeholders_become_values() {
        for (template, wanted) in [
            (json!("plain {text}"), json!("plain {text}")),
            (json!("{/name}"), json!("cart")),
            (json!("{/n}"), json!(3)),
            (json!("{/list}"), json!([1, 2])),
            (json!("{/text}"), json!("a\nb: c")),
            (json!("x-{/name}-{/n}."), json!("x-cart-3.")),
            (json!("{/a~1b}"), json!("slash")),
            (json!({ "a": ["{/n}", true] }), json!({ "a": [3, true] })),
            (json!("{/name"), json!("{/name")),
        ] {
            assert_eq!(fill(&template), Ok(wanted), "{template}");
        }
    }

    #[test]
    fn missing_and_unsafe_values_are_refused() {
        for template in ["{/missing}", "x{/missing}", "name: {/text}", "x{/list}"] {
            assert!(fill(&json!(template)).is_err(), "{template}");
        }
    }
}
