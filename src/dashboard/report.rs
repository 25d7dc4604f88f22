//! Shows the report of any verb: fields as a list, arrays of objects as tables. Columns with a meaning that all reports
//! share, such as actions, severities, codes and differences, have a form of their own.

use maud::{Markup, html};
use serde_json::{Map, Value};

use super::page;

/// Deepest level that is shown; more is shown as JSON.
const DEPTH: usize = 5;
/// Most rows of a table or entries of a list.
const ROWS: usize = 500;
/// Most columns of a table.
const COLUMNS: usize = 8;
/// Columns that come first, in this order.
const FIRST: &[&str] = &[
    "severity",
    "action",
    "status",
    "code",
    "object",
    "service",
    "component",
    "name",
    "count",
    "title",
    "resource",
    "field",
    "line",
    "message",
];
/// Most characters of a text.
const TEXT: usize = 4_000;

/// A report.
pub(super) fn render(report: &Value) -> Markup {
    value("", report, 0)
}

fn value(name: &str, value: &Value, depth: usize) -> Markup {
    match value {
        Value::Object(fields) if is_reference(fields) => html! { code { (reference(fields)) } },
        Value::Object(fields) if depth < DEPTH => object(fields, depth),
        Value::Array(entries) if name == "diff" && entries.iter().all(Value::is_object) => difference(entries),
        Value::Array(entries) if depth < DEPTH => array(entries, depth),
        Value::Object(_) | Value::Array(_) => html! { code { (clipped(&value.to_string())) } },
        Value::String(text) => scalar(name, text),
        Value::Null => html! { "–" },
        other => html! { (other.to_string()) },
    }
}

fn scalar(name: &str, text: &str) -> Markup {
    match name {
        "action" | "severity" | "status" | "outcome" => page::badge(text),
        "code" => page::code_link(text),
        "url" if text.starts_with("https://") => html! { a.url href=(text) rel="noreferrer" { (text) } },
        _ => html! { (clipped(text)) },
    }
}

fn clipped(text: &str) -> String {
    if text.chars().count() <= TEXT {
        return text.to_owned();
    }
    let start: String = text.chars().take(TEXT).collect();
    format!("{start} … ({} bytes)", text.len())
}

/// Whether it names a Kubernetes object and nothing else.
fn is_reference(fields: &Map<String, Value>) -> bool {
    let parts = ["apiVersion", "api_version", "group", "version", "kind", "namespace", "name"];
    fields.contains_key("kind")
        && fields.contains_key("name")
        && fields.iter().all(|(name, value)| parts.contains(&name.as_str()) && (value.is_string() || value.is_null()))
}

fn reference(fields: &Map<String, Value>) -> String {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    match text("namespace") {
        "" => format!("{} {}", text("kind"), text("name")),
        namespace => format!("{} {namespace}/{}", text("kind"), text("name")),
    }
}

/// Short fields as a list, then each long one below a title of its own.
fn object(fields: &Map<String, Value>, depth: usize) -> Markup {
    let is_long = |field: &Value| depth == 0 && (is_table(field) || uniform(field).is_some());
    html! {
        dl.facts { @for (name, field) in fields.iter().filter(|(_, field)| !is_long(field)).take(ROWS) {
            dt { (title(name, depth)) }
            dd { (value(name, field, depth + 1)) }
        } }
        @for (name, field) in fields.iter().filter(|(_, field)| is_long(field)).take(ROWS) {
            h3 { (title(name, depth)) }
            @if let Some(entries) = uniform(field) { (map(entries, depth + 1)) } @else { (value(name, field, depth + 1)) }
        }
    }
}

fn is_table(field: &Value) -> bool {
    field.as_array().is_some_and(|entries| entries.iter().any(Value::is_object))
}

/// A map whose values are all objects with the same fields, such as the codes of an analysis.
fn uniform(field: &Value) -> Option<&Map<String, Value>> {
    let entries = field.as_object().filter(|entries| !is_reference(entries))?;
    let mut values = entries.values().map(Value::as_object);
    let first: Vec<&String> = values.next()??.keys().collect();
    values.all(|other| other.is_some_and(|other| other.keys().eq(first.iter().copied()))).then_some(entries)
}

fn map(entries: &Map<String, Value>, depth: usize) -> Markup {
    let columns = columns(entries.values()).unwrap_or_default();
    html! {
        table.rows {
            thead { tr { th { "Name" } @for column in &columns { th { (title(column, 0)) } } } }
            tbody { @for (name, entry) in entries.iter().take(ROWS) { tr {
                td data-label="Name" { (page::code_link(name)) }
                @for column in &columns { (cell(column, entry, depth)) }
            } } }
        }
    }
}

fn cell(column: &str, entry: &Value, depth: usize) -> Markup {
    html! { td data-label=(title(column, 0)) { @if let Some(field) = entry.get(column) { (value(column, field, depth + 1)) } } }
}

fn array(entries: &[Value], depth: usize) -> Markup {
    if entries.is_empty() {
        return html! { span.quiet { "none" } };
    }
    let rest = entries.len().saturating_sub(ROWS);
    html! {
        @if let Some(columns) = columns(entries.iter()) {
            table.rows {
                thead { tr { @for column in &columns { th { (title(column, 0)) } } } }
                tbody { @for entry in entries.iter().take(ROWS) { tr {
                    @for column in &columns { (cell(column, entry, depth)) }
                } } }
            }
        } @else {
            ul { @for entry in entries.iter().take(ROWS) { li { (value("", entry, depth + 1)) } } }
        }
        @if rest > 0 { p.notice { (rest) " more entries are in the CloudEvent." } }
    }
}

/// The fields of the entries: the known ones first, the others in order of first use. `None` unless all entries are
/// objects with few fields.
fn columns<'a>(entries: impl Iterator<Item = &'a Value>) -> Option<Vec<String>> {
    let mut columns: Vec<String> = Vec::new();
    for entry in entries.take(ROWS) {
        let fields = entry.as_object().filter(|fields| !is_reference(fields))?;
        for name in fields.keys() {
            if !columns.contains(name) && name != "fingerprint" {
                columns.push(name.clone());
            }
        }
    }
    columns.sort_by_key(|name| FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()));
    (columns.len() <= COLUMNS).then_some(columns)
}

/// Lines with `-` and `+`, so that the colors are not needed.
fn difference(changes: &[Value]) -> Markup {
    let shown = |change: &Value, name: &str| change.get(name).map(|value| clipped(&value.to_string()));
    html! {
        div.diff { @for change in changes.iter().take(ROWS) {
            p { code { (change.get("path").and_then(Value::as_str).unwrap_or_default()) } }
            @if let Some(from) = shown(change, "from") { del { "- " (from) } }
            @if let Some(to) = shown(change, "to") { ins { "+ " (to) } }
        } }
    }
}

/// `dry_run` as `Dry run`. Below the first level, names may be keys of a map and stay as they are.
fn title(name: &str, depth: usize) -> String {
    if depth > 0 {
        return name.to_owned();
    }
    let words = name.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hostile_text_is_escaped() {
        let hostile = "<script>alert(1)</script>";
        let report = json!({ hostile: hostile, "objects": [{ "object": { "kind": hostile, "name": hostile },
            "action": hostile, "diff": [{ "path": hostile, "from": hostile, "to": hostile }] }],
            "url": "javascript:alert(1)", "code": hostile });
        let page = render(&report).into_string();
        assert!(!page.contains("<script"), "{page}");
        assert!(!page.contains("href"), "{page}");
    }

    #[test]
    fn objects_are_a_table_with_actions_and_differences() {
        let object = json!({ "kind": "ConfigMap", "namespace": "shop", "name": "settings" });
        let report = json!({ "objects": [{ "object": object, "action": "configured",
            "diff": [{ "path": "data.a", "from": "1", "to": "2" }] }] });
        let page = render(&report).into_string();
        for part in ["ConfigMap shop/settings", "data-state=\"configured\"", "<del>- ", "<ins>+ "] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }

    #[test]
    fn deep_and_long_reports_are_bounded() {
        let mut deep = json!("end");
        for _ in 0..100 {
            deep = json!({ "inside": [deep] });
        }
        let long: Vec<Value> = (0..10_000).map(|n| json!({ "n": n })).collect();
        let page = render(&json!({ "deep": deep, "long": long })).into_string();
        assert!(page.contains("9500 more entries"));
        assert!(page.matches("<dl").count() < 10);
    }
}
