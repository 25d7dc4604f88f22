//! Builds JSON values from any serde format within a budget of depth, number and bytes. One visitor for YAML and
//! JSON, so that both have the same limits and the same numbers.

use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{Limit, MAX_BYTES, MAX_DEPTH, MAX_VALUES};

/// Largest integer that a double holds exactly together with all smaller ones.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// What one manifest may still use. Aliases are charged each time they are unfolded.
#[derive(Debug)]
pub struct Budget {
    most_values: usize,
    values: Cell<usize>,
    bytes: Cell<usize>,
    breach: Cell<Option<(Limit, usize)>>,
    large_float: Cell<bool>,
}

/// Maximum number of values that aliases may add. Without this limit a text of 500 bytes could take as long to refuse as
/// one of 8 MiB.
const ALIASED: usize = 100_000;

impl Budget {
    /// For a text of this length.
    pub fn new(length: usize) -> Self {
        let most_values = MAX_VALUES.min(length + ALIASED);
        Self {
            most_values,
            values: Cell::new(most_values),
            bytes: Cell::new(STRING_BYTES),
            breach: Cell::new(None),
            large_float: Cell::new(false),
        }
    }
}

/// Without aliases the strings of a manifest are never longer than its text.
const STRING_BYTES: usize = 2 * MAX_BYTES;

impl Budget {
    /// The limit that ended the reading, if one did.
    pub fn breach(&self) -> Option<(Limit, usize)> {
        self.breach.get()
    }

    /// Whether a number was met that a double may not hold exactly; forgets it.
    pub fn take_large_float(&self) -> bool {
        self.large_float.take()
    }

    fn refuse<E: de::Error>(&self, limit: Limit, most: usize) -> E {
        self.breach.set(Some((limit, most)));
        E::custom("a limit is exceeded")
    }

    fn value<E: de::Error>(&self) -> Result<(), E> {
        let left = self.values.get().checked_sub(1).ok_or_else(|| self.refuse(Limit::Values, self.most_values))?;
        self.values.set(left);
        Ok(())
    }

    fn string<E: de::Error>(&self, length: usize) -> Result<(), E> {
        let left = self.bytes.get().checked_sub(length).ok_or_else(|| self.refuse(Limit::StringBytes, STRING_BYTES))?;
        self.bytes.set(left);
        Ok(())
    }
}

/// Reads one value that is `depth` levels below its document.
#[derive(Clone, Copy)]
pub struct Seed<'a> {
    budget: &'a Budget,
    depth: usize,
}

impl<'a> Seed<'a> {
    /// For a document's root.
    pub const fn root(budget: &'a Budget) -> Self {
        Self { budget, depth: 0 }
    }

    fn below<E: de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(self.budget.refuse(Limit::Depth, MAX_DEPTH));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.budget.value()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
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

    /// The API server writes `8.0` as `8`; one form is needed to compare the two.
    #[allow(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        if value.abs() > EXACT {
            self.budget.large_float.set(true);
        } else if value.fract() == 0.0 {
            return Ok((value as i64).into());
        }
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("the number is not finite"))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        self.budget.string(value.len())?;
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        self.budget.string(value.len())?;
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(below)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut values = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            self.budget.string(key.len())?;
            if values.contains_key(&key) {
                return Err(de::Error::custom(format_args!("the key {key} is there twice")));
            }
            values.insert(key, map.next_value_seed(below)?);
        }
        Ok(Value::Object(values))
    }
}
