//! The trait by which the facts about Istio read JSON, so that they apply to the values of the analysis and to those of a
//! Kubernetes client.

use crate::Value;

/// A JSON value. Reading what is absent gives `None` or nothing, never an error.
pub trait Json: Sized {
    /// The value of a key; `None` if this is not an object, or the key is missing or null.
    fn field(&self, key: &str) -> Option<&Self>;
    /// The string, if it is one.
    fn string(&self) -> Option<&str>;
    /// The integer, if it is one.
    fn integer(&self) -> Option<i64>;
    /// The items of an array; empty if it is none.
    fn array(&self) -> &[Self];
    /// Whether `is` holds for each key and value of an object; true if it has none.
    fn all_fields(&self, is: &mut dyn FnMut(&str, &Self) -> bool) -> bool;

    /// The value below several keys.
    fn path(&self, keys: &[&str]) -> Option<&Self> {
        keys.iter().try_fold(self, |value, key| value.field(key))
    }

    /// The string below several keys.
    fn string_at(&self, keys: &[&str]) -> Option<&str> {
        self.path(keys)?.string()
    }
}

impl Json for Value {
    fn field(&self, key: &str) -> Option<&Self> {
        Some(self.get(key)).filter(|value| value.is_set())
    }

    fn string(&self) -> Option<&str> {
        self.as_str()
    }

    fn integer(&self) -> Option<i64> {
        self.as_int()
    }

    fn array(&self) -> &[Self] {
        self.items()
    }

    fn all_fields(&self, is: &mut dyn FnMut(&str, &Self) -> bool) -> bool {
        self.entries().iter().all(|(key, value)| is(key, value))
    }
}

impl Json for serde_json::Value {
    fn field(&self, key: &str) -> Option<&Self> {
        self.get(key).filter(|value| !value.is_null())
    }

    fn string(&self) -> Option<&str> {
        self.as_str()
    }

    fn integer(&self) -> Option<i64> {
        self.as_i64()
    }

    fn array(&self) -> &[Self] {
        self.as_array().map_or(&[], Vec::as_slice)
    }

    fn all_fields(&self, is: &mut dyn FnMut(&str, &Self) -> bool) -> bool {
        self.as_object().is_none_or(|object| object.iter().all(|(key, value)| is(key, value)))
    }
}
