//! Reads and shows the report of any verb: those with a form of their own as [`crate::report`] gives it, the others as lists of fields
//! and tables of their arrays. Columns with a meaning that all reports share, such as actions, severities, codes and
//! differences, have the same form everywhere.

use maud::{Markup, html};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::index::RunId;
use super::refusal::Refusal;
use super::{Shared, page};
use crate::client::Observed;
use crate::report::{Block, Cell, Change, Objects, Tone};

/// Deepest level that is shown; more is shown as JSON.
const DEPTH: usize = 5;
/// Maximum number of rows of a table or entries of a list.
const ROWS: usize = 500;
/// Maximum number of columns of a table.
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
/// Maximum number of characters of a text.
const TEXT: usize = 4_000;

/// Reads the report of a run. `None` for a run without one, and for a report of another version of the contract.
pub(super) async fn read<R: DeserializeOwned>(shared: &Shared, run: RunId) -> Result<Option<R>, Refusal> {
    let Some(key) = run.command_key() else { return Ok(None) };
    let Some(Observed::Result(result)) = shared.client.result(&key).await?.map(|it| it.observed) else {
        return Ok(None);
    };
    Ok(result.report.filter(Value::is_object).and_then(|report| serde_json::from_value(report).ok()))
}

/// The report of a verb.
pub(super) fn render(verb: &str, report: &Value) -> Markup {
    match crate::report::blocks(verb, report, true) {
        Some(blocks) => html! { @for one in &blocks { (block(one)) } },
        None if crate::report::is_dry_run(report) => {
            let mut report = report.clone();
            crate::report::name_plans(&mut report, DEPTH);
            value("", &report, 0)
        }
        None => value("", report, 0),
    }
}

fn block(block: &Block) -> Markup {
    match block {
        Block::Line(cell) => html! { p { (toned(cell)) } },
        Block::Text(text) => html! { pre { (clipped(text)) } },
        Block::Table { header, rows } => html! {
            table.rows {
                thead { tr { @for name in header { th { (sentence(name)) } } } }
                tbody { @for row in rows.iter().take(ROWS) { tr {
                    @for (name, cell) in header.iter().zip(row) { td data-label=(sentence(name)) { (toned(cell)) } }
                } } }
            }
            (omitted(rows.len()))
        },
        Block::List { title, items } => html! {
            h3 { (sentence(title)) }
            ul { @for item in items.iter().take(ROWS) { li { (clipped(item)) } } }
            (omitted(items.len()))
        },
        Block::Objects(objects) => object_table(objects),
        Block::Message { severity, text } => html! { p { (page::badge(&severity.text)) " " (clipped(text)) } },
        Block::Code(group) => html! {
            h3 { (page::badge(&group.level.text)) " " (page::code_link(&group.code)) " " (group.title) }
            table.rows {
                thead { tr { th { "Object" } th { "Message" } } }
                tbody { @for (place, message) in group.findings.iter().take(ROWS) { tr {
                    td data-label="Object" { (place) }
                    td data-label="Message" { (clipped(message)) }
                } } }
            }
            (omitted(group.findings.len()))
            @if !group.remedy.is_empty() { p { strong { "Remedy: " } (group.remedy) } }
        },
    }
}

fn toned(cell: &Cell) -> Markup {
    match cell.tone {
        Tone::Plain => html! { (clipped(&cell.text)) },
        Tone::Strong => html! { strong { (clipped(&cell.text)) } },
        Tone::Quiet => html! { span.quiet { (clipped(&cell.text)) } },
        Tone::Good => html! { span.good { (clipped(&cell.text)) } },
        Tone::Changed => html! { span.changed { (clipped(&cell.text)) } },
        Tone::Bad => html! { span.bad { (clipped(&cell.text)) } },
    }
}

fn object_table(objects: &Objects) -> Markup {
    html! {
        h3 { (objects.summary) }
        table.rows {
            thead { tr { th { "Action" } th { "Object" } th { "Reason" } } }
            tbody { @for line in objects.lines.iter().take(ROWS) { tr {
                td data-label="Action" { (page::badge(line.word)) }
                td data-label="Object" { (line.object) }
                td data-label="Reason" {
                    (line.reason)
                    @if let Some(problem) = &line.problem { (page::problem(problem)) }
                    @if !line.changes.is_empty() { (changes(&line.changes)) }
                }
            } } }
        }
        (omitted(objects.lines.len()))
    }
}

/// Lines with `-` and `+`, so that the colors are not needed.
fn changes(changes: &[Change]) -> Markup {
    let shown = |value: &Option<Value>| value.as_ref().map(|value| clipped(&value.to_string()));
    html! {
        div.diff { @for change in changes.iter().take(ROWS) {
            p { code { (change.path) } }
            @if let Some(from) = shown(&change.from) { del { "- " (from) } }
            @if let Some(to) = shown(&change.to) { ins { "+ " (to) } }
        } }
    }
}

/// The number of entries beyond the limit.
fn omitted(entries: usize) -> Markup {
    let rest = entries.saturating_sub(ROWS);
    html! { @if rest > 0 { p.notice { (rest) " more entries are in the CloudEvent." } } }
}

/// `READY PODS` as `Ready pods`.
fn sentence(text: &str) -> String {
    let is_capital = text.chars().all(|letter| !letter.is_lowercase());
    let text = if is_capital { text.to_lowercase() } else { text.to_owned() };
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
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
        (omitted(entries.len()))
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

/// The field `diff` of an object in a report.
fn difference(entries: &[Value]) -> Markup {
    let read = |entry: &Value| Change {
        path: entry.get("path").and_then(Value::as_str).unwrap_or_default().to_owned(),
        from: entry.get("from").cloned(),
        to: entry.get("to").cloned(),
    };
    changes(&entries.iter().take(ROWS).map(read).collect::<Vec<_>>())
}

/// `dry_run` as `Dry run`. Below the first level, names may be keys of a map and stay as they are.
fn title(name: &str, depth: usize) -> String {
    if depth > 0 {
        return name.to_owned();
    }
    sentence(&name.replace('_', " "))
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
        let page = render("ping", &report).into_string();
        assert!(!page.contains("<script"), "{page}");
        assert!(!page.contains("href"), "{page}");
    }

    #[test]
    fn dry_run_has_the_words_of_a_plan() {
        let objects = json!([{ "object": { "kind": "Service", "name": "a" }, "action": "created" }]);
        let of = |dry_run: bool| render("ping", &json!({ "dry_run": dry_run, "objects": objects })).into_string();
        assert!(of(true).contains("data-state=\"create\"") && !of(true).contains("created"), "{}", of(true));
        assert!(of(false).contains("data-state=\"created\""), "{}", of(false));
    }

    #[test]
    fn objects_are_a_table_with_actions_and_differences() {
        let object = json!({ "kind": "ConfigMap", "namespace": "shop", "name": "settings" });
        let report = json!({ "objects": [{ "object": object, "action": "configured",
            "diff": [{ "path": "data.a", "from": "1", "to": "2" }] }] });
        let page = render("ping", &report).into_string();
        for part in ["ConfigMap shop/settings", "data-state=\"configured\"", "<del>- ", "<ins>+ "] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }

    /// Before: nested lists of fields, other than on the terminal.
    #[test]
    fn report_with_a_table_of_its_own_uses_it() {
        let hostile = "<script>alert(1)</script>";
        let subset = json!({"name": "v1", "labels": {"version": hostile}, "ready_pods": 0});
        let object = json!({"object": {"api_version": "v1", "kind": "Service", "namespace": "a", "name": "b"},
            "action": "configured", "diff": [{"path": "spec.a", "from": 1, "to": 2}]});
        let report = json!({"services": [{"service": "reviews", "rules": ["80 % to v1"], "subsets": [subset]}],
            "warnings": [hostile], "objects": [object]});
        let page = render("traffic.apply", &report).into_string();
        for part in [
            "<th>Ready pods</th>",
            "<span class=\"bad\">0</span>",
            "<h3>Rules of reviews</h3>",
            "data-state=\"warning\"",
            "Service a/b",
            "<ins>+ 2</ins>",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("<script"), "{page}");
    }

    #[test]
    fn deep_and_long_reports_are_bounded() {
        let mut deep = json!("end");
        for _ in 0..100 {
            deep = json!({ "inside": [deep] });
        }
        let long: Vec<Value> = (0..10_000).map(|n| json!({ "n": n })).collect();
        let page = render("ping", &json!({ "deep": deep, "long": long })).into_string();
        assert!(page.contains("9500 more entries"));
        assert!(page.matches("<dl").count() < 10);
    }
}
