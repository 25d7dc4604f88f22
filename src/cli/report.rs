//! A result for people: one line that says how it ended, then what was done to each object.

use std::fmt::Write;

use serde_json::Value;

use super::Error;
use super::output::{self, BAD, CHANGED, GOOD, QUIET, STRONG, render, styled};
use crate::client::Observation;
use crate::cluster::{Action, ObjectReport};
use crate::event::{CommandKey, Outcome, ResultData, TYPE_PREFIX};
use crate::notice::FindingReport;

/// Up to so many unchanged objects are named.
const NAMED: usize = 20;

/// Enough of a key to tell commands apart on a screen.
pub(super) fn short(key: &CommandKey) -> &str {
    key.as_str().get(..8).unwrap_or_default()
}

/// A finding, in one line.
pub(super) fn finding_line(finding: &FindingReport) -> String {
    let field = if finding.field.is_empty() { String::new() } else { format!(" {}", finding.field) };
    let place = styled(STRONG, &finding.resource);
    format!("{} [{}] {place}{field}: {}", finding.level, finding.code, finding.message)
}

/// How it ended, in one line.
pub(super) fn headline(observation: &Observation, result: &ResultData) -> String {
    let verb = observation
        .event
        .get("type")
        .and_then(Value::as_str)
        .and_then(|ty| ty.strip_prefix(TYPE_PREFIX)?.strip_prefix(".result.")?.strip_suffix(".v1"))
        .unwrap_or("command");
    let name = styled(STRONG, format_args!("{verb} on {}", observation.target));
    let (sign, style, how) = match result.outcome {
        Outcome::Succeeded if result.changed => ("✔", GOOD, "done"),
        Outcome::Succeeded => ("✔", GOOD, "done, nothing changed"),
        Outcome::Failed => ("✖", BAD, "failed"),
        Outcome::Rejected => ("✖", BAD, "rejected"),
        Outcome::Cancelled => ("■", CHANGED, "cancelled"),
        Outcome::Expired => ("✖", BAD, "expired"),
        Outcome::Superseded => ("■", CHANGED, "superseded"),
    };
    let attempts = if result.attempts > 1 { format!(", {} attempts", result.attempts) } else { String::new() };
    let by = styled(QUIET, format_args!("by {}{attempts} ({})", result.worker, short(&observation.key)));
    format!("{} {name}: {}, {by}", styled(style, sign), styled(style, how))
}

/// Writes everything below the headline, if there is anything.
pub(super) fn print_body(result: &ResultData) -> Result<(), Error> {
    let text = body(result);
    if text.is_empty() { Ok(()) } else { output::line(text) }
}

fn body(result: &ResultData) -> String {
    let mut text = String::new();
    if let Some(report) = &result.report {
        describe(report, &mut text);
    }
    if let Some(error) = &result.error {
        text += &render(error);
    }
    text.trim_end().to_owned()
}

/// Reports differ by verb. Lists of objects become tables wherever they are, below the rest, which is shown by its name.
fn describe(report: &Value, text: &mut String) {
    let mut tables = Vec::new();
    fields(report, "", &mut tables, text);
    for objects in tables {
        table(&objects, text);
    }
}

fn fields(report: &Value, path: &str, tables: &mut Vec<Vec<ObjectReport>>, text: &mut String) {
    let Value::Object(named) = report else { return };
    for (name, value) in named {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match value {
            Value::Array(items) => match objects(items) {
                Some(objects) => tables.push(objects),
                None => items.iter().for_each(|one| item(&path, one, text)),
            },
            Value::Object(_) => fields(value, &path, tables, text),
            Value::Null | Value::Bool(false) => {}
            other => field(&path, other, text),
        }
    }
}

/// One of many: its plain fields in a line, and what it has below it, its objects too.
fn item(path: &str, value: &Value, text: &mut String) {
    let Value::Object(named) = value else { return field(path, value, text) };
    let mut plain = Vec::new();
    let mut rest = serde_json::Map::new();
    for (name, value) in named {
        let words = match value {
            Value::Null | Value::Bool(false) => continue,
            Value::Bool(true) => String::new(),
            Value::String(word) => word.clone(),
            Value::Number(number) => number.to_string(),
            Value::Array(all) if all.iter().all(Value::is_string) => {
                all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
            }
            Value::Array(_) | Value::Object(_) => {
                rest.insert(name.clone(), value.clone());
                continue;
            }
        };
        plain.push(styled(QUIET, name) + if words.is_empty() { "" } else { " " } + &words);
    }
    let _ = writeln!(text, "  {} {}", styled(QUIET, format_args!("{path}:")), plain.join("; "));
    let mut tables = Vec::new();
    fields(&Value::Object(rest), path, &mut tables, text);
    for objects in tables {
        table(&objects, text);
    }
}

fn field(name: &str, value: &Value, text: &mut String) {
    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let _ = writeln!(text, "  {} {value}", styled(QUIET, format_args!("{name}:")));
}

fn objects(items: &[Value]) -> Option<Vec<ObjectReport>> {
    let read = items.iter().map(|item| serde_json::from_value(item.clone()).ok());
    read.collect::<Option<Vec<ObjectReport>>>().filter(|objects| !objects.is_empty())
}

fn table(objects: &[ObjectReport], text: &mut String) {
    let unchanged = objects.iter().filter(|object| object.action == Action::Unchanged).count();
    for object in objects {
        if object.action == Action::Unchanged && unchanged > NAMED {
            continue;
        }
        let style = match object.action {
            Action::Created | Action::Configured | Action::Recreated => GOOD,
            Action::Pruned | Action::Deleted | Action::Skipped => CHANGED,
            Action::Failed => BAD,
            Action::Unchanged | Action::Absent => QUIET,
        };
        let _ = write!(text, "  {} {}", styled(style, format_args!("{:<10}", word(object.action))), object.object);
        if let Some(reason) = &object.reason {
            let _ = write!(text, " {}", styled(QUIET, format_args!("({reason})")));
        }
        text.push('\n');
        if let Some(problem) = &object.problem {
            let _ = writeln!(text, "             {} {}", styled(BAD, &problem.code), problem.message);
        }
        for change in &object.diff {
            let side = |value: &Option<Value>| value.as_ref().map_or_else(|| "(none)".to_owned(), Value::to_string);
            let _ = writeln!(text, "             {}: {} → {}", change.path, side(&change.from), side(&change.to));
        }
    }
    let _ = writeln!(text, "  {}", styled(QUIET, summary(objects)));
}

/// Such as `2 created, 10 unchanged`.
fn summary(objects: &[ObjectReport]) -> String {
    let mut counts: Vec<(Action, usize)> = Vec::new();
    for object in objects {
        match counts.iter_mut().find(|(action, _)| *action == object.action) {
            Some((_, count)) => *count += 1,
            None => counts.push((object.action, 1)),
        }
    }
    let parts: Vec<String> = counts.iter().map(|(action, count)| format!("{count} {}", word(*action))).collect();
    parts.join(", ")
}

fn word(action: Action) -> &'static str {
    match action {
        Action::Created => "created",
        Action::Configured => "configured",
        Action::Unchanged => "unchanged",
        Action::Recreated => "recreated",
        Action::Skipped => "skipped",
        Action::Pruned => "pruned",
        Action::Deleted => "deleted",
        Action::Absent => "absent",
        Action::Failed => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body_of(report: &Value) -> String {
        let result = serde_json::from_value(json!({
            "outcome": "succeeded", "changed": true, "report": report, "attempts": 1, "fence": 1, "worker": "w",
            "ended": "2026-01-31T12:00:00Z",
        }))
        .unwrap();
        anstream::adapter::strip_str(&body(&result)).to_string()
    }

    fn object(name: &str, action: &str) -> Value {
        json!({ "object": { "apiVersion": "v1", "kind": "ConfigMap", "namespace": "shop", "name": name }, "action": action })
    }

    #[test]
    fn objects_are_listed_wherever_the_report_has_them() {
        let text = body_of(
            &json!({ "app": "shop", "apply": { "dryRun": false, "objects": [object("a", "created"), object("b", "unchanged")] }, "ready": true }),
        );
        assert_eq!(
            text,
            "  app: shop\n  ready: true\n  created    ConfigMap shop/a\n  unchanged  ConfigMap shop/b\n  1 created, 1 unchanged"
        );
    }

    #[test]
    fn parts_have_their_objects_below_them() {
        let part = |name: &str, object: Value| json!({ "name": name, "ready": true, "users": ["a", "b"], "objects": [object] });
        let text = body_of(
            &json!({ "parts": [part("base", object("a", "created")), part("istiod", object("b", "deleted"))] }),
        );
        assert_eq!(
            text,
            "  parts: name base; ready; users a, b\n  created    ConfigMap shop/a\n  1 created\n  \
             parts: name istiod; ready; users a, b\n  deleted    ConfigMap shop/b\n  1 deleted"
        );
    }

    #[test]
    fn many_unchanged_objects_are_only_counted() {
        let mut objects: Vec<Value> = (0..=NAMED).map(|n| object(&n.to_string(), "unchanged")).collect();
        objects.push(object("new", "created"));
        let text = body_of(&json!({ "objects": objects }));
        assert_eq!(text, "  created    ConfigMap shop/new\n  21 unchanged, 1 created");
    }
}
