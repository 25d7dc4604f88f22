//! JSON patches. Source: RFC 6902 and RFC 6901.

use super::super::super::Value;
use super::super::budget::Budget;
use super::edit::refuse_deep;
use super::{Inexact, charge};

/// Applies the operations in order.
///
/// # Errors
/// An operation that does not fit the object; Kustomize refuses it too. One that makes the object too deep or copies more
/// than the budget allows.
pub fn apply(object: &mut Value, operations: &Value, copies: &Budget) -> Result<(), Inexact> {
    operations.items().iter().try_for_each(|operation| apply_one(object, operation, copies))
}

fn apply_one(object: &mut Value, operation: &Value, copies: &Budget) -> Result<(), Inexact> {
    let path = pointer(operation["path"].text());
    let from = pointer(operation["from"].text());
    let fails = || Inexact(format!("the JSON patch {} {}", operation["op"].text(), operation["path"].text()));
    match operation["op"].text() {
        "add" => {
            refuse_deep(path.len(), &operation["value"])?;
            add(object, &path, operation["value"].clone()).ok_or_else(fails)
        }
        "remove" => take(object, &path).map(drop).ok_or_else(fails),
        "replace" => {
            refuse_deep(path.len(), &operation["value"])?;
            *find(object, &path).ok_or_else(fails)? = operation["value"].clone();
            Ok(())
        }
        "move" => {
            let moved = take(object, &from).ok_or_else(fails)?;
            refuse_deep(path.len(), &moved)?;
            add(object, &path, moved).ok_or_else(fails)
        }
        "copy" => {
            let value = find(object, &from).ok_or_else(fails)?;
            refuse_deep(path.len(), value)?;
            charge(copies, value)?;
            let value = value.clone();
            add(object, &path, value).ok_or_else(fails)
        }
        "test" => {
            let is_equal = find(object, &path).is_some_and(|found| *found == operation["value"]);
            if is_equal { Ok(()) } else { Err(fails()) }
        }
        _ => Err(fails()),
    }
}

fn pointer(text: &str) -> Vec<String> {
    let unescape = |part: &str| part.replace("~1", "/").replace("~0", "~");
    text.strip_prefix('/').map_or_else(Vec::new, |text| text.split('/').map(unescape).collect())
}

fn find<'a>(node: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(node, |node, key| match node {
        Value::Map(_) => node.get_mut(key),
        Value::List(items) => items.get_mut(key.parse::<usize>().ok()?),
        _ => None,
    })
}

fn add(object: &mut Value, path: &[String], value: Value) -> Option<()> {
    let Some((last, above)) = path.split_last() else {
        *object = value;
        return Some(());
    };
    match find(object, above)? {
        node @ Value::Map(_) => node.set(last, value),
        Value::List(items) => {
            let at = if last == "-" { items.len() } else { last.parse().ok().filter(|at| *at <= items.len())? };
            let mut all = std::mem::take(items).into_vec();
            all.insert(at, value);
            *items = all.into();
        }
        _ => return None,
    }
    Some(())
}

fn take(object: &mut Value, path: &[String]) -> Option<Value> {
    let (last, above) = path.split_last()?;
    match find(object, above)? {
        node @ Value::Map(_) => node.remove(last),
        Value::List(items) => {
            let at = last.parse().ok().filter(|at| *at < items.len())?;
            let mut all = std::mem::take(items).into_vec();
            let taken = all.remove(at);
            *items = all.into();
            Some(taken)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        super::super::super::read_value("test", text).unwrap()
    }

    #[test]
    fn operations_of_the_standard_are_applied() {
        let copies = Budget::new(0);
        let mut object = value("{a: {b: [1, 2]}, 'x/y': 1}");
        let patch = "[{op: test, path: /a/b/0, value: 1}, {op: add, path: /a/b/-, value: 3}, \
                     {op: add, path: /a/b/0, value: 0}, {op: remove, path: /a/b/2}, {op: replace, path: /x~1y, value: z}, \
                     {op: copy, from: /a/b/0, path: /c}, {op: move, from: /c, path: /d}]";
        apply(&mut object, &value(patch), &copies).unwrap();
        assert_eq!(object, value("{a: {b: [0, 1, 3]}, 'x/y': z, d: 0}"));
        for wrong in
            ["[{op: remove, path: /q}]", "[{op: add, path: /q/r, value: 1}]", "[{op: test, path: /d, value: 1}]"]
        {
            assert!(apply(&mut object, &value(wrong), &copies).is_err(), "{wrong}");
        }
    }
}
