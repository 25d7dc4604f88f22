//! Values of CEL over an object and its schema.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::super::schema::{Schema, Schemas, Type};
use super::eval::Error;
use crate::Value;

#[derive(Debug, Clone)]
pub(super) enum CelValue<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Cow<'a, str>),
    /// Nanoseconds.
    Duration(i64),
    /// A URL; rules use only its scheme.
    Url(String),
    List(Vec<CelValue<'a>>),
    Map(Vec<(CelValue<'a>, CelValue<'a>)>),
    /// A list or map of the object.
    Value(&'a Value, &'a Schema),
}

impl<'a> CelValue<'a> {
    #[allow(clippy::cast_precision_loss, reason = "a `number` is a double")]
    pub(super) fn of(node: &'a Value, schema: &'a Schema) -> Self {
        match node {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) if schema.kind == Type::Number => Self::Double(*value as f64),
            Value::Int(value) => Self::Int(*value),
            Value::Float(value) => Self::Double(*value),
            Value::Str(text) => Self::Text(Cow::Borrowed(text)),
            Value::List(_) | Value::Map(_) => Self::Value(node, schema),
        }
    }

    pub(super) fn text(&self) -> Result<&str, Error> {
        match self {
            Self::Text(text) => Ok(text),
            _ => Err(Error::Type),
        }
    }

    /// A field, or its default.
    pub(super) fn field(&self, name: &str, schemas: &'a Schemas) -> Result<Option<Self>, Error> {
        match self {
            Self::Value(node @ Value::Map(_), schema) => Ok(field(node, schema, name, schemas)),
            Self::Map(entries) => Ok(entries
                .iter()
                .find(|(key, _)| matches!(key, Self::Text(text) if text == name))
                .map(|(_, value)| value.clone())),
            _ => Err(Error::Type),
        }
    }

    pub(super) fn index(&self, index: &Self, schemas: &'a Schemas) -> Result<Self, Error> {
        match index {
            Self::Text(name) => self.field(name, schemas)?.ok_or_else(|| Error::NoSuchKey(name.to_string())),
            Self::Int(at) => {
                let missing = || Error::NoSuchKey(at.to_string());
                let position = usize::try_from(*at).map_err(|_| missing())?;
                self.items(schemas)?.into_iter().nth(position).ok_or_else(missing)
            }
            _ => Err(Error::Type),
        }
    }

    /// Elements for a macro: the items of a list, or the keys of a map.
    pub(super) fn items(&self, schemas: &'a Schemas) -> Result<Vec<Self>, Error> {
        Ok(match self {
            Self::List(items) => items.clone(),
            Self::Map(entries) => entries.iter().map(|(key, _)| key.clone()).collect(),
            Self::Value(Value::List(items), schema) => {
                let schema = schema.items.map_or(*schema, |items| schemas.node(items));
                items.iter().map(|item| Self::of(item, schema)).collect()
            }
            Self::Value(Value::Map(entries), _) => {
                entries.iter().map(|(key, _)| Self::Text(Cow::Borrowed(key))).collect()
            }
            _ => return Err(Error::Type),
        })
    }

    pub(super) fn size(&self) -> Result<usize, Error> {
        match self {
            Self::Text(text) => Ok(text.chars().count()),
            Self::List(items) => Ok(items.len()),
            Self::Map(entries) => Ok(entries.len()),
            Self::Value(Value::List(items), _) => Ok(items.len()),
            Self::Value(Value::Map(entries), _) => Ok(entries.len()),
            _ => Err(Error::Type),
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "CEL compares across number types")]
    pub(super) fn compare(&self, other: &Self) -> Result<Ordering, Error> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) | (Self::Duration(a), Self::Duration(b)) => Ok(a.cmp(b)),
            (Self::Text(a), Self::Text(b)) => Ok(a.cmp(b)),
            (Self::Bool(a), Self::Bool(b)) => Ok(a.cmp(b)),
            (Self::Int(a), Self::Double(b)) => (*a as f64).partial_cmp(b).ok_or(Error::Type),
            (Self::Double(a), Self::Int(b)) => a.partial_cmp(&(*b as f64)).ok_or(Error::Type),
            (Self::Double(a), Self::Double(b)) => a.partial_cmp(b).ok_or(Error::Type),
            _ => Err(Error::Type),
        }
    }

    pub(super) fn equals(&self, other: &Self, schemas: &'a Schemas) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Value(a, _), Self::Value(b, _)) => a == b,
            (Self::List(_) | Self::Value(Value::List(_), _), Self::List(_) | Self::Value(Value::List(_), _)) => {
                match (self.items(schemas), other.items(schemas)) {
                    (Ok(a), Ok(b)) => a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a.equals(b, schemas)),
                    _ => false,
                }
            }
            _ => self.compare(other).is_ok_and(Ordering::is_eq),
        }
    }
}

fn field<'a>(node: &'a Value, schema: &'a Schema, name: &str, schemas: &'a Schemas) -> Option<CelValue<'a>> {
    let part = schema.properties.get(name).copied().or(schema.additional_properties).map(|part| schemas.node(part));
    match node.entries().iter().find(|(key, _)| key == name) {
        Some((_, value)) if value.is_set() || part.is_some_and(|part| part.nullable) => {
            Some(CelValue::of(value, part.unwrap_or(schema)))
        }
        // Before rules are evaluated, forbidden nulls are dropped and defaults are set.
        _ => part.and_then(|part| part.default.as_ref().map(|default| CelValue::of(default, part))),
    }
}
