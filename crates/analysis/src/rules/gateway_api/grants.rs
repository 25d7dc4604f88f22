//! Evaluates `ReferenceGrant` for references across namespaces. Source: Gateway API, `ReferenceGrant`. Contains no
//! rule.

use crate::{Kind, Resource, Value, View};

/// Whether `from` may reference an object of another namespace. Needs [`Kind::ReferenceGrant`].
pub fn is_granted(view: &View<'_>, from: &Resource, group: &str, kind: &str, namespace: &str, name: &str) -> bool {
    let is_from = |item: &Value| {
        item["group"].text() == from.kind.group()
            && item["kind"].text() == from.kind.name()
            && item["namespace"].text() == from.namespace
    };
    let is_to = |item: &Value| {
        item["group"].text() == group
            && item["kind"].text() == kind
            && (item["name"].text().is_empty() || item["name"].text() == name)
    };
    view.in_namespace(Kind::ReferenceGrant, namespace)
        .iter()
        .any(|grant| grant.spec()["from"].items().iter().any(is_from) && grant.spec()["to"].items().iter().any(is_to))
}
