//! Checks single values: limits, formats and enums.

use core::net::{Ipv4Addr, Ipv6Addr};
use std::collections::BTreeSet;

use super::check::shortened;
use super::schema::{Schema, Schemas};
use crate::{Fix, Value};

pub(super) struct Wrong {
    pub message: String,
    /// Whether the value exceeds a maximum length or number of items.
    pub is_length: bool,
    /// The change that makes the value valid.
    pub fix: Option<Fix>,
}

/// Errors of a value that has the right type.
pub(super) fn check(node: &Value, schema: &Schema, schemas: &Schemas) -> impl Iterator<Item = Wrong> {
    let bounds = match node {
        Value::Str(text) => text_bounds(text, schema, schemas),
        Value::Int(_) | Value::Float(_) => number_bounds(node, schema),
        Value::List(items) => list_bounds(items, schema),
        Value::Map(entries) => {
            size(entries.len(), schema.min_properties, schema.max_properties, "entries").into_iter().collect()
        }
        Value::Null | Value::Bool(_) => Vec::new(),
    };
    let stranger = (!schema.values.is_empty() && !schema.values.contains(node)).then(|| {
        let allowed: Vec<String> = schema.values.iter().map(|value| format!("`{}`", value.scalar_text())).collect();
        let meant = sailhand_base::suggest::nearest(node.text(), schema.values.iter().map(Value::text));
        let hint = meant.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
        Wrong {
            message: format!("`{}` must be one of {}{hint}", shortened(&node.scalar_text()), allowed.join(", ")),
            is_length: false,
            fix: sailhand_base::suggest::certain(node.text(), schema.values.iter().map(Value::text))
                .map(|to| Fix::Replace { from: node.text().to_owned(), to: to.to_owned() }),
        }
    });
    bounds.into_iter().chain(stranger)
}

fn wrong(message: String) -> Wrong {
    Wrong { message, is_length: false, fix: None }
}

fn size(length: usize, min: Option<usize>, max: Option<usize>, what: &str) -> Option<Wrong> {
    if let Some(min) = min.filter(|min| length < *min) {
        return Some(wrong(format!("must have at least {min} {what}, but has {length}")));
    }
    let max = max.filter(|max| length > *max)?;
    let message = format!("must have at most {max} {what}, but has {length}");
    Some(Wrong { message, is_length: true, fix: None })
}

fn text_bounds(text: &str, schema: &Schema, schemas: &Schemas) -> Vec<Wrong> {
    let mut found = Vec::new();
    if schema.min_length.is_some() || schema.max_length.is_some() {
        found.extend(size(text.chars().count(), schema.min_length, schema.max_length, "characters"));
    }
    if let Some(pattern) = schema.pattern.and_then(|pattern| schemas.pattern(pattern))
        && !pattern.matches(text)
    {
        found.push(wrong(format!("`{}` must match {}", shortened(text), pattern.text)));
    }
    let formed = match schema.format.as_deref() {
        Some("ipv4") => text.parse::<Ipv4Addr>().is_ok(),
        Some("ipv6") => text.parse::<Ipv6Addr>().is_ok(),
        Some("byte") => is_base64(text),
        _ => true,
    };
    if !formed {
        let form = schema.format.as_deref().unwrap_or_default();
        found.push(wrong(format!("`{}` does not have the format `{form}`", shortened(text))));
    }
    found
}

/// Base64 with padding. Source: the `byte` format of kube-openapi.
fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    text.len().is_multiple_of(4)
        && text.len() - body.len() <= 2
        && body.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
}

fn number_bounds(node: &Value, schema: &Schema) -> Vec<Wrong> {
    let Some(number) = node.as_number() else { return Vec::new() };
    let (low, high) = match schema.format.as_deref() {
        Some("int32") => (Some(f64::from(i32::MIN)), Some(f64::from(i32::MAX))),
        _ => (None, None),
    };
    let written = node.scalar_text();
    let minimum = schema.minimum.or(low).filter(|minimum| number < *minimum);
    let maximum = schema.maximum.or(high).filter(|maximum| number > *maximum);
    minimum
        .map(|minimum| wrong(format!("must be at least {minimum}, but is {written}")))
        .into_iter()
        .chain(maximum.map(|maximum| wrong(format!("must be at most {maximum}, but is {written}"))))
        .collect()
}

fn list_bounds(items: &[Value], schema: &Schema) -> Vec<Wrong> {
    let mut found: Vec<Wrong> = size(items.len(), schema.min_items, schema.max_items, "items").into_iter().collect();
    let key = |item: &Value| -> String {
        if schema.list_keys.is_empty() {
            return serde_json::to_string(item).unwrap_or_default();
        }
        let values: Vec<String> =
            schema.list_keys.iter().map(|key| format!("{key} `{}`", item.get(key).scalar_text())).collect();
        values.join(", ")
    };
    if matches!(schema.list_type.as_deref(), Some("set" | "map")) && items.len() > 1 {
        let mut seen = BTreeSet::new();
        for item in items {
            let key = key(item);
            if seen.contains(&key) {
                found.push(wrong(format!("duplicate items with {key}")));
            }
            seen.insert(key);
        }
    }
    found
}
