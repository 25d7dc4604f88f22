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
        "url" if text.starts_with("https://") => html! { a href=(text) rel="noreferrer" { (text) } },
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

fn object(fields: &Map<String, Value>, depth: usize) -> Markup {
    html! {
        dl.facts { @for (name, field) in fields.iter().take(ROWS) {
            dt { (title(name)) }
            dd { (value(name, field, depth + 1)) }
        } }
    }
}

fn array(entries: &[Value], depth: usize) -> Markup {
    if entries.is_empty() {
        return html! { span.quiet { "none" } };
    }
    let rest = entries.len().saturating_sub(ROWS);
    html! {
        @if let Some(columns) = columns(entries) {
            table.rows {
                thead { tr { @for column in &columns { th { (title(column)) } } } }
                tbody { @for entry in entries.iter().take(ROWS) { tr {
                    @for column in &columns { td data-label=(title(column)) {
                        @if let Some(field) = entry.get(column) { (value(column, field, depth + 1)) }
                    } }
                } } }
            }
        } @else {
            ul { @for entry in entries.iter().take(ROWS) { li { (value("", entry, depth + 1)) } } }
        }
        @if rest > 0 { p.notice { (rest) " more entries are in the CloudEvent." } }
    }
}

/// The fields of the entries, in order of first use; `None` unless all entries are objects with few fields.
fn columns(entries: &[Value]) -> Option<Vec<String>> {
    let mut columns: Vec<String> = Vec::new();
    for entry in entries.iter().take(ROWS) {
        let fields = entry.as_object().filter(|fields| !is_reference(fields))?;
        for name in fields.keys() {
            if !columns.contains(name) {
                columns.push(name.clone());
            }
        }
    }
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

/// `dry_run` as `Dry run`.
fn title(name: &str) -> String {
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
