//! A value of YAML or JSON: compact and owned, with keys in document order. Contains no parser and no Kubernetes logic.

use std::ops::Index;

use compact_str::{CompactString, ToCompactString};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::source::Keys;

/// A value. A missing key yields [`Value::Null`], so that a path can be followed without checks:
/// `node["spec"]["tls"]["mode"].text()`.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Value {
    /// Null or missing.
    #[default]
    Null,
    /// A boolean.
    Bool(bool),
    /// A 64-bit integer.
    Int(i64),
    /// Another number.
    Float(f64),
    /// A string; up to 24 bytes are stored inline.
    Str(CompactString),
    /// A sequence.
    List(Box<[Value]>),
    /// A mapping in document order.
    Map(Box<[(CompactString, Value)]>),
}

static ABSENT: Value = Value::Null;

impl Value {
    /// A string.
    #[must_use]
    pub fn string(text: impl AsRef<str>) -> Self {
        Self::Str(CompactString::new(text))
    }

    /// Value of a key; null if this is not a mapping or has no such key.
    #[must_use]
    pub fn get(&self, key: &str) -> &Self {
        self.entries().iter().find(|(name, _)| name == key).map_or(&ABSENT, |(_, value)| value)
    }

    /// Value at a path of keys separated by dots: `spec.trafficPolicy.tls`.
    #[must_use]
    pub fn at(&self, path: &str) -> &Self {
        path.split('.').fold(self, |node, key| node.get(key))
    }

    /// Whether it is null or missing.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether it is present, even if empty: `{}` is.
    #[must_use]
    pub const fn is_set(&self) -> bool {
        !self.is_null()
    }

    /// Whether it is empty: null, `""`, `[]`, `{}`, `0`, `false`. Protobuf does not serialize such values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(value) => !value,
            Self::Int(value) => *value == 0,
            Self::Float(value) => *value == 0.0,
            Self::Str(value) => value.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Map(entries) => entries.is_empty(),
        }
    }

    /// The string, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The string; empty for other types.
    #[must_use]
    pub fn text(&self) -> &str {
        self.as_str().unwrap_or_default()
    }

    /// The boolean, if it is one.
    #[must_use]
    pub const fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// Whether it is `true`.
    #[must_use]
    pub const fn is_true(&self) -> bool {
        matches!(self, Self::Bool(true))
    }

    /// The integer, if it is one.
    #[must_use]
    pub const fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The number, if it is one.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "callers that need exact integers use `integer`")]
    pub const fn as_number(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// Items of a sequence; empty for other types.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// Keys and values of a mapping in document order; empty for other types.
    #[must_use]
    pub fn entries(&self) -> &[(CompactString, Self)] {
        match self {
            Self::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Strings in a sequence; other items are skipped.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.items().iter().filter_map(Self::as_str)
    }

    /// Type of the value, for messages.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Int(_) => "integer",
            Self::Float(_) => "number",
            Self::Str(_) => "string",
            Self::List(_) => "list",
            Self::Map(_) => "mapping",
        }
    }

    /// A scalar as text; empty for sequences and mappings.
    #[must_use]
    pub fn scalar_text(&self) -> CompactString {
        match self {
            Self::Null | Self::List(_) | Self::Map(_) => CompactString::const_new(""),
            Self::Bool(value) => value.to_compact_string(),
            Self::Int(value) => value.to_compact_string(),
            Self::Float(value) => value.to_compact_string(),
            Self::Str(text) => text.clone(),
        }
    }

    /// A copy merged with another value: mappings are merged recursively, everything else is replaced.
    #[must_use]
    pub fn overlaid(&self, over: &Self) -> Self {
        let (Self::Map(below), Self::Map(above)) = (self, over) else { return over.clone() };
        let mut merged: Vec<(CompactString, Self)> = below
            .iter()
            .map(|(key, value)| match over.get(key) {
                Self::Null => (key.clone(), value.clone()),
                above => (key.clone(), value.overlaid(above)),
            })
            .collect();
        merged.extend(above.iter().filter(|(key, _)| self.get(key).is_null()).cloned());
        Self::Map(merged.into())
    }
}

impl Index<&str> for Value {
    type Output = Self;

    fn index(&self, key: &str) -> &Self {
        self.get(key)
    }
}

impl Index<usize> for Value {
    type Output = Self;

    fn index(&self, index: usize) -> &Self {
        self.items().get(index).unwrap_or(&ABSENT)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    #[allow(clippy::cast_precision_loss, reason = "larger integers have no exact form")]
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Int))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Str(CompactString::new(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        let mut keys = Keys::default();
        while let Some(Key(key)) = map.next_key()? {
            if keys.find(&entries, 0, &key).is_some() {
                return Err(de::Error::custom(format_args!("duplicate key {key}")));
            }
            let value = map.next_value()?;
            keys.push(&mut entries, key, value);
        }
        Ok(Value::Map(entries.into()))
    }
}

struct Key(CompactString);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl Visitor<'_> for KeyVisitor {
            type Value = Key;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a key")
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Key, E> {
                Ok(Key(CompactString::new(value)))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// Nesting is limited by the format: 128 levels for `serde_json`. A duplicate key is an error.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Str(text) => serializer.serialize_str(text),
            Self::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Self::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                entries.iter().try_for_each(|(key, value)| map.serialize_entry(key.as_str(), value))?;
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_is_as_small_as_string() {
        assert_eq!(size_of::<Value>(), 24);
    }

    #[test]
    fn missing_path_is_null() {
        let node: Value = serde_json::from_str(r#"{"a":{"b":[{"c":1}]}}"#).unwrap();
        assert_eq!(node.at("a.b")[0]["c"].as_int(), Some(1));
        assert!(node["a"]["x"]["y"][7]["z"].is_null());
        assert!(node["a"]["b"][0]["c"]["d"].is_null());
    }

    #[test]
    fn overlay_merges_mappings_and_replaces_lists() {
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let merged = read(r#"{"a":{"b":1,"c":[1]},"d":2}"#).overlaid(&read(r#"{"a":{"c":[2]},"e":3}"#));
        assert_eq!(merged, read(r#"{"a":{"b":1,"c":[2]},"d":2,"e":3}"#));
    }
}
