//! Reads JSON in which each name occurs once in its object (RFC 7493 §2.3). Readers differ in which of two values they use, so
//! a gateway could check another command than the worker executes. Independent of events.

use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Maximum number of values in a text. In memory a value needs many times the two bytes that it can have in the text.
pub const MAX_VALUES: usize = 1_000_000;
/// Maximum number of characters of a name in an error.
const NAMED: usize = 64;

/// Reads one value and nothing after it. `serde_json` limits the nesting to 128 levels.
///
/// # Errors
/// Malformed JSON, a number that a double cannot represent, a duplicate name, or more than [`MAX_VALUES`] values.
pub fn read(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let left = Cell::new(MAX_VALUES);
    let value = Once { left: &left }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

#[derive(Clone, Copy)]
struct Once<'a> {
    /// Number of further values that are allowed.
    left: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Once<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.ok_or_else(|| de::Error::custom(format_args!("there are more than {MAX_VALUES} values")))?);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Once<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("the number is not finite"))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if values.contains_key(&name) {
                let name: String = name.chars().take(NAMED).collect();
                return Err(de::Error::custom(format_args!("the name {name:?} is there twice")));
            }
            values.insert(name, map.next_value_seed(self)?);
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_as_serde_json_reads_them() {
        for text in [
            r#"{"a":[1,-2,3.5,1e3,true,null,"\u00e4\n",{"b":{}}],"":0}"#,
            "18446744073709551615",
            "18446744073709551616",
            "[]",
        ] {
            assert_eq!(read(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
    }

    #[test]
    fn duplicate_names_and_too_many_values_are_errors() {
        let long = format!("[{}]", "9".repeat(400));
        let deep = "[".repeat(100_000);
        let many = format!("[{}0]", "0,".repeat(MAX_VALUES));
        for (text, reason) in [
            (r#"{"a":1,"b":2,"a":1}"#, "\"a\" is there twice"),
            ("{\"a\":1,\"\\u0061\":2}", "\"a\" is there twice"),
            (r#"[{"a":{"x":1,"x":1}}]"#, "\"x\" is there twice"),
            ("1e999999", "out of range"),
            (&long, "out of range"),
            (&deep, "recursion limit"),
            (&many, "more than 1000000 values"),
            ("{} {}", "trailing characters"),
            ("\"\\ud800\"", "hex escape"),
        ] {
            let error = read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(reason), "{}: {error}", &text[..text.len().min(40)]);
        }
        assert!(read(b"\"\xff\"").is_err());
    }
}
