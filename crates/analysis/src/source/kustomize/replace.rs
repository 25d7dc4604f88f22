//! Replacements: copies values of one object into fields of others. Source: kustomize `api/filters/replacement`,
//! `kyaml/yaml/match.go`.

use regex::Regex;

use super::super::super::Value;
use super::super::budget::Budget;
use super::super::scalar::resolve;
use super::edit::{refuse_deep, split_path};
use super::object::Object;
use super::{Inexact, charge, select};

/// Applies one replacement.
pub fn apply(objects: &mut [Object], replacement: &Value, copies: &Budget) -> Result<(), Inexact> {
    let value = match &replacement["sourceValue"] {
        Value::Null => source(objects, &replacement["source"])?,
        value => value.clone(),
    };
    if replacement["targets"].items().is_empty() {
        return Err(Inexact("a replacement without targets".to_owned()));
    }
    replacement["targets"].items().iter().try_for_each(|target| put(objects, target, &value, copies))
}

fn source(objects: &[Object], selector: &Value) -> Result<Value, Inexact> {
    let selected: Vec<&Object> =
        objects.iter().filter(|object| object.ids().any(|id| select::selects(selector, &id))).collect();
    let [object] = selected.as_slice() else {
        return Err(Inexact(format!("a replacement whose source selects {} objects", selected.len())));
    };
    let path = field_path(selector["fieldPath"].as_str().unwrap_or("metadata.name"));
    let found = path.iter().try_fold(&object.root, |node, part| look_up(node, part));
    let found = found.filter(|value| value.is_set());
    let found = found.ok_or_else(|| Inexact(format!("a replacement from {}, which is missing", path.join("."))))?;
    match selector["options"]["delimiter"].text() {
        "" => Ok(found.clone()),
        delimiter => {
            let text = found.scalar_text();
            let part = index(&selector["options"]).ok().and_then(|at| text.split(delimiter).nth(at));
            part.map(Value::string).ok_or_else(|| Inexact("a replacement with an index out of range".to_owned()))
        }
    }
}

fn index(options: &Value) -> Result<usize, i64> {
    let index = options["index"].as_int().unwrap_or(0);
    usize::try_from(index).map_err(|_| index)
}

fn look_up<'a>(node: &'a Value, part: &str) -> Option<&'a Value> {
    match (node, selector_of(part)) {
        (Value::List(items), Some((key, value))) => {
            items.iter().find(|item| if key.is_empty() { *item } else { &item[key] }.scalar_text() == value)
        }
        (Value::List(items), None) => items.get(part.parse::<usize>().ok()?),
        (Value::Map(_), _) => Some(&node[part]),
        _ => None,
    }
}

/// Key and value of `[key=value]`.
fn selector_of(part: &str) -> Option<(&str, &str)> {
    part.strip_prefix('[')?.strip_suffix(']')?.split_once('=')
}

/// The parts of a path. Brackets keep dots: `a.[name=b.c].d`; those without `=` enclose a key.
fn field_path(path: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for part in split_path(path, '.') {
        match parts.last_mut() {
            Some(open) if open.starts_with('[') && !open.ends_with(']') => {
                open.push('.');
                open.push_str(&part);
            }
            _ => parts.push(part),
        }
    }
    let bare = |part: String| match part.strip_prefix('[').and_then(|part| part.strip_suffix(']')) {
        Some(key) if !key.contains('=') => key.to_owned(),
        _ => part,
    };
    parts.into_iter().map(bare).collect()
}

fn put(objects: &mut [Object], target: &Value, value: &Value, copies: &Budget) -> Result<(), Inexact> {
    let selector = &target["select"];
    if selector.is_null() {
        return Err(Inexact("a replacement whose target selects nothing".to_owned()));
    }
    let rejects = target["reject"].items();
    let default = [Value::string("metadata.name")];
    let paths = match target["fieldPaths"].items() {
        [] => &default,
        paths => paths,
    };
    for object in objects.iter_mut() {
        let is_selected = object.ids().any(|id| select::selects(selector, &id))
            && select::matches_selectors(object, selector)?
            && !is_rejected(object, rejects)?;
        for path in paths.iter().filter(|_| is_selected) {
            let parts = field_path(path.text());
            refuse_deep(parts.len(), value)?;
            let options = &target["options"];
            let mut count = 0;
            walk(&mut object.root, &parts, options["create"].is_true().then_some(value), &mut |node| {
                count += 1;
                charge(copies, value)?;
                set(node, value, options)
            })?;
            if count == 0 {
                return Err(Inexact(format!("a replacement of {}, which is missing", path.text())));
            }
        }
    }
    Ok(())
}

fn is_rejected(object: &Object, rejects: &[Value]) -> Result<bool, Inexact> {
    for reject in rejects {
        let has_id = ["group", "version", "kind", "name", "namespace"].iter().any(|key| reject[*key].is_set());
        let has_selector = reject["labelSelector"].is_set() || reject["annotationSelector"].is_set();
        if has_id && object.ids().any(|id| select::selects(reject, &id))
            || has_selector && select::matches_selectors(object, reject)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn walk(
    node: &mut Value,
    path: &[String],
    create: Option<&Value>,
    change: &mut dyn FnMut(&mut Value) -> Result<(), Inexact>,
) -> Result<(), Inexact> {
    let [part, rest @ ..] = path else { return change(node) };
    if let Value::List(items) = node {
        if part == "*" {
            return items.iter_mut().try_for_each(|item| walk(item, rest, create, change));
        }
        if let Some((key, value)) = selector_of(part) {
            let pattern = Regex::new(value).map_err(|_| Inexact(format!("the pattern {value}")))?;
            let is_match = |item: &Value| {
                let value = if key.is_empty() { item } else { &item[key] };
                value.is_set() && pattern.is_match(&value.scalar_text())
            };
            if create.is_some() && !items.iter().any(&is_match) {
                return Err(Inexact(format!("a replacement that creates the item {part}")));
            }
            return items
                .iter_mut()
                .filter(|item| is_match(item))
                .try_for_each(|item| walk(item, rest, create, change));
        }
        return match part.parse::<usize>().ok().and_then(|at| items.get_mut(at)) {
            Some(item) => walk(item, rest, create, change),
            None => Err(Inexact(format!("a replacement of item {part}, which is missing"))),
        };
    }
    if part == "*" {
        return match node {
            Value::Map(entries) => entries.iter_mut().try_for_each(|(_, item)| walk(item, rest, create, change)),
            _ => Ok(()),
        };
    }
    if node.get(part).is_null()
        && let Some(value) = create
    {
        if rest.first().is_some_and(|next| selector_of(next).is_some() || next.parse::<usize>().is_ok()) {
            return Err(Inexact(format!("a replacement that creates the list {part}")));
        }
        node.set(part, if rest.is_empty() { value.clone() } else { Value::Map(Box::default()) });
    }
    node.get_mut(part).map_or(Ok(()), |node| walk(node, rest, create, change))
}

/// A scalar keeps its type where the new text allows it.
fn set(node: &mut Value, value: &Value, options: &Value) -> Result<(), Inexact> {
    let is_scalar = |value: &Value| !matches!(value, Value::List(_) | Value::Map(_));
    let mut value = value.clone();
    let delimiter = options["delimiter"].text();
    if !delimiter.is_empty() {
        if !is_scalar(node) || !is_scalar(&value) {
            return Err(Inexact("a replacement with a delimiter in a mapping or list".to_owned()));
        }
        let old = node.scalar_text();
        let mut parts: Vec<&str> = old.split(delimiter).collect();
        let new = value.scalar_text();
        match index(options) {
            Err(_) => parts.insert(0, &new),
            Ok(at) if at >= parts.len() => parts.push(&new),
            Ok(at) => parts[at] = &new,
        }
        value = Value::string(parts.join(delimiter));
    }
    *node = match node {
        Value::Str(_) if is_scalar(&value) => Value::Str(value.scalar_text()),
        Value::Int(_) | Value::Float(_) | Value::Bool(_) if is_scalar(&value) => resolve(&value.scalar_text()),
        _ => value,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_keep_dots_in_brackets() {
        assert_eq!(field_path("a.[name=b.c].d"), ["a", "[name=b.c]", "d"]);
        assert_eq!(field_path("metadata.annotations.[a.b/c]"), ["metadata", "annotations", "a.b/c"]);
        assert_eq!(field_path("a\\.b.c"), ["a.b", "c"]);
    }
}
