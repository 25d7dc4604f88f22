//! A result on the terminal: one line with the outcome, then the report as a table where its verb has one, else field by
//! field.

mod attempts;
mod render;

use std::fmt::Write;

use std::time::Duration;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Error;
use super::error::for_verb;
use super::output::{self, BAD, CHANGED, Format, GOOD, QUIET, STRONG, render, styled};
use crate::client::Observation;
use crate::cluster::{ObjectReport, ObjectsReport};
use crate::error::Problem;
use crate::event::{CommandKey, Outcome, ResultData};
use crate::prose;
use crate::report::{self, Block, Objects, Words};
use crate::task_event::FindingReport;

/// The first digits of a key, which distinguish the commands of a list.
pub(super) fn short(key: &CommandKey) -> &str {
    key.as_str().get(..8).unwrap_or_default()
}

/// A finding, in one line.
pub(super) fn finding_line(finding: &FindingReport) -> String {
    let field = if finding.field.is_empty() { String::new() } else { format!(" {}", finding.field) };
    let place = styled(STRONG, &finding.resource);
    format!("{} [{}] {place}{field}: {}", finding.severity, finding.code, finding.message)
}

/// How it ended, in one line, with the time since `begun`.
pub(super) fn headline(observation: &Observation, result: &ResultData, begun: Option<OffsetDateTime>) -> String {
    let verb = observation.result_verb().unwrap_or("command");
    let name = styled(STRONG, format_args!("{verb} on {}", observation.target));
    let dry_run = result.report.as_ref().is_some_and(report::is_dry_run);
    let (sign, style, how) = match result.outcome {
        Outcome::Succeeded if result.changed => ("✔", GOOD, "done"),
        Outcome::Succeeded if dry_run => ("✔", GOOD, "dry run done, nothing written"),
        Outcome::Succeeded => ("✔", GOOD, "done, nothing changed"),
        Outcome::Failed => ("✖", BAD, "failed"),
        Outcome::Rejected => ("✖", BAD, "rejected"),
        Outcome::Cancelled => ("■", CHANGED, "cancelled"),
        Outcome::Expired => ("✖", BAD, "expired"),
        Outcome::Superseded => ("■", CHANGED, "superseded"),
    };
    let attempts = if result.attempts > 1 { format!(", {} attempts", result.attempts) } else { String::new() };
    let took = begun.and_then(|begun| took(begun, &result.ended)).map(|took| format!(" in {took}")).unwrap_or_default();
    let by = styled(QUIET, format_args!("by {}{attempts} ({})", result.worker, short(&observation.key)));
    let counts = result.report.as_ref().map(deletions).unwrap_or_default();
    format!("{} {name}: {}{took}{counts}, {by}", styled(style, sign), styled(style, how))
}

/// Time from `begun` to `ended`, in two units at most.
fn took(begun: OffsetDateTime, ended: &str) -> Option<String> {
    let took: Duration = (OffsetDateTime::parse(ended, &Rfc3339).ok()? - begun).try_into().ok()?;
    if took < Duration::from_secs(10) {
        return Some(format!("{:.1}s", took.as_secs_f64()));
    }
    Some(humantime::format_duration(Duration::from_secs(took.as_secs())).to_string())
}

/// `, 6 deleted` for a report with deleted objects: they must not be overlooked.
fn deletions(report: &Value) -> String {
    fn count(report: &Value) -> usize {
        match report {
            Value::Array(items) => items.iter().map(count).sum(),
            Value::Object(fields) if fields.contains_key("object") && fields.contains_key("action") => {
                usize::from(matches!(fields["action"].as_str(), Some("deleted" | "pruned")))
            }
            Value::Object(fields) => fields.iter().filter(|(name, _)| *name != "drift").map(|(_, it)| count(it)).sum(),
            _ => 0,
        }
    }
    match count(report) {
        0 => String::new(),
        some if report::is_dry_run(report) => format!(", would delete {some}"),
        some => format!(", {some} deleted"),
    }
}

/// Writes the report and the error below the headline, if there are any.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn print_body(observation: &Observation, result: &ResultData, format: Format) -> Result<(), Error> {
    let text = body(observation.result_verb().unwrap_or_default(), result, format == Format::Wide);
    if text.is_empty() { Ok(()) } else { output::line(text) }
}

/// The report and the error. `wide` names unchanged objects and shortens nothing.
fn body(verb: &str, result: &ResultData, wide: bool) -> String {
    let mut text = String::new();
    if let Some(report) = &result.report {
        match report::blocks(verb, report, wide) {
            Some(blocks) => text = render::text(&blocks, wide),
            None => describe(report, wide, &mut text),
        }
    }
    text += &attempts::text(result);
    if let Some(error) = &result.error {
        let short = |text: &String| without_repetition(text, result.report.as_ref());
        text += &render(&Problem {
            message: short(&error.message),
            causes: error.causes.iter().map(short).collect(),
            remedy: for_verb(&error.remedy, verb),
            ..error.clone()
        });
    }
    text.trim_end().to_owned()
}

/// The text of an error about several objects, without the first object's error if the report has that.
fn without_repetition(text: &str, report: Option<&Value>) -> String {
    fn has(value: &Value, message: &str) -> bool {
        match value {
            Value::Object(fields) => {
                fields.get("message").is_some_and(|it| it == message) || fields.values().any(|it| has(it, message))
            }
            Value::Array(items) => items.iter().any(|it| has(it, message)),
            _ => false,
        }
    }
    match text.split_once(" failed, first ") {
        Some((count, first)) if report.is_some_and(|report| has(report, first)) => format!("{count} failed"),
        _ => text.to_owned(),
    }
}

/// Objects of a dry run with the fields that would change. Returns whether there are differences.
pub(super) fn differences(result: &ResultData) -> (String, bool) {
    let mut text = String::new();
    let report: Option<ObjectsReport> =
        result.report.as_ref().and_then(|report| serde_json::from_value(report.clone()).ok());
    let objects = report.map(|report| report.objects).unwrap_or_default();
    let differing: Vec<_> = objects.iter().filter(|it| it.action.writes() || it.problem.is_some()).cloned().collect();
    render::put_objects(&Objects::of(Words::Planned, &differing), true, &mut text);
    if let Some(error) = &result.error {
        text += &render(error);
    }
    (text.trim_end().to_owned(), !differing.is_empty())
}

/// Lists of objects with the words for what is done to them.
type Tables = Vec<(Words, Vec<ObjectReport>)>;

/// A report without a table of its own.
fn describe(report: &Value, wide: bool, text: &mut String) {
    let done = if report::is_dry_run(report) { Words::Planned } else { Words::Done };
    fields_and_tables(report, "", done, wide, text);
}

/// Fields by name, then the lists of objects as tables.
fn fields_and_tables(report: &Value, path: &str, done: Words, wide: bool, text: &mut String) {
    let mut tables = Tables::new();
    fields(report, path, done, wide, &mut tables, text);
    for (words, objects) in tables {
        render::put_objects(&Objects::of(words, &objects), wide, text);
    }
}

fn fields(report: &Value, path: &str, done: Words, wide: bool, tables: &mut Tables, text: &mut String) {
    let Value::Object(named) = report else { return };
    for (name, value) in named {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match value {
            Value::Array(items) => match objects(items) {
                Some(objects) => tables.push((if name == "drift" { Words::Drift } else { done }, objects)),
                None if name == "warnings" => {
                    let warnings: Vec<_> = items.iter().filter_map(Value::as_str).map(report::warning).collect();
                    *text += &render::text(&warnings, wide);
                }
                None => items.iter().for_each(|one| item(&path, one, done, wide, text)),
            },
            Value::Object(_) => fields(value, &path, done, wide, tables, text),
            Value::Null | Value::Bool(false) => {}
            Value::String(word) if word.is_empty() => {}
            other => field(&path, other, text),
        }
    }
}

/// A finding of a check; `None` if the value is none.
fn finding(value: &Value) -> Option<Block> {
    serde_json::from_value(value.clone()).ok().map(|finding| report::message(&finding))
}

/// An item of a list: its plain fields in one line, then its nested fields and objects.
fn item(path: &str, value: &Value, done: Words, wide: bool, text: &mut String) {
    if let Some(finding) = finding(value) {
        *text += &render::text(&[finding], wide);
        return;
    }
    let Value::Object(named) = value else { return field(path, value, text) };
    let mut plain = Vec::new();
    let mut rest = serde_json::Map::new();
    for (name, value) in named {
        let words = match value {
            Value::Null | Value::Bool(false) => continue,
            Value::Array(none) if none.is_empty() => continue,
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
        plain.push(format!("{name}{}{words}", if words.is_empty() { "" } else { " " }));
    }
    line(path, &plain.join("; "), text);
    fields_and_tables(&Value::Object(rest), path, done, wide, text);
}

fn field(name: &str, value: &Value, text: &mut String) {
    line(name, &value.as_str().map_or_else(|| value.to_string(), str::to_owned), text);
}

/// A name and a value, wrapped at the width of the terminal.
fn line(name: &str, value: &str, text: &mut String) {
    let value = prose::fold(value, name.chars().count() + 4, 4, output::width());
    let _ = writeln!(text, "  {} {value}", styled(QUIET, format_args!("{name}:")));
}

fn objects(items: &[Value]) -> Option<Vec<ObjectReport>> {
    let read = items.iter().map(|item| serde_json::from_value(item.clone()).ok());
    read.collect::<Option<Vec<ObjectReport>>>().filter(|objects| !objects.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::report::render::{NAMED, WIDE};
    use serde_json::json;

    fn body_of(report: &Value) -> String {
        let result = serde_json::from_value(json!({
            "outcome": "succeeded", "changed": true, "report": report, "attempts": 1, "fence": 1, "worker": "w",
            "ended": "2026-01-31T12:00:00Z",
        }))
        .unwrap();
        anstream::adapter::strip_str(&body("config.apply", &result, false)).to_string()
    }

    fn object(name: &str, action: &str) -> Value {
        json!({ "object": { "api_version": "v1", "kind": "ConfigMap", "namespace": "shop", "name": name }, "action": action })
    }

    #[test]
    fn objects_are_listed_wherever_the_report_has_them() {
        let text = body_of(
            &json!({ "app": "shop", "apply": { "dry_run": false, "objects": [object("a", "created"), object("b", "unchanged")] }, "ready": true }),
        );
        assert_eq!(
            text,
            "  app: shop\n  ready: true\n  created    ConfigMap shop/a\n  unchanged  ConfigMap shop/b\n  1 created, 1 unchanged"
        );
    }

    #[test]
    fn a_failed_object_has_its_remedy_and_a_skipped_one_its_reason() {
        let mut failed = object("a", "failed");
        failed["problem"] = json!({ "code": "SH3006", "class": "terminal", "message": "no", "remedy": "Set force." });
        let mut skipped = object("b", "skipped");
        skipped["reason"] = json!("not tried");
        assert_eq!(
            body_of(&json!({ "objects": [failed, skipped] })),
            "  failed     ConfigMap shop/a\n             SH3006 no\n             help: Set force.\n  \
             skipped    ConfigMap shop/b (not tried)\n  1 failed, 1 skipped"
        );
    }

    #[test]
    fn the_error_of_an_object_is_shown_once() {
        let mut failed = object("a", "failed");
        failed["problem"] = json!({ "code": "SH3006", "class": "terminal", "message": "no", "remedy": "Set force." });
        let text = "1 of 2 objects failed, first no";
        let shown = |report: Option<&Value>| without_repetition(text, report);
        assert_eq!(shown(Some(&json!({ "objects": [failed] }))), "1 of 2 objects failed");
        assert_eq!(shown(Some(&json!({ "objects": [object("a", "created")] }))), text);
        assert_eq!(shown(None), text);
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
    fn check_findings_are_sentences_and_empty_checks_print_nothing() {
        let text = body_of(&json!({
            "findings": [{ "severity": "warning", "check": "skew", "message": "1.30.3 is older" }],
            "revision": "",
            "parts": [{ "component": "base", "drift": [] }],
        }));
        assert_eq!(text, "  warning: 1.30.3 is older (skew)\n  parts: component base");
    }

    #[test]
    fn drift_is_reported_as_a_difference_and_not_as_a_change() {
        let drift = [object("a", "created"), object("b", "configured"), object("c", "failed")];
        let text = body_of(&json!({ "parts": [{ "component": "base", "drift": drift }] }));
        assert_eq!(
            text,
            "  parts: component base\n  missing    ConfigMap shop/a\n  differs    ConfigMap shop/b\n  \
             conflict   ConfigMap shop/c\n  1 missing, 1 differs, 1 conflict"
        );
    }

    #[test]
    fn only_changed_lines_of_a_long_text_are_shown() {
        let mut one = object("a", "configured");
        let all = |hub: &str| format!("a: 1\nhub: {hub}\nz: 2");
        one["diff"] = json!([{ "path": "data.mesh", "from": all("x"), "to": all("y") }, { "path": "data.k", "from": "v".repeat(WIDE * 2) }]);
        let text = body_of(&json!({ "objects": [one] }));
        let clipped = format!("\"{}…", "v".repeat(WIDE - 1));
        assert_eq!(
            text,
            format!(
                "  configured ConfigMap shop/a\n             data.mesh:\n               - hub: x\n               + hub: y\n             data.k: {clipped} → (none)\n  1 configured"
            )
        );
    }

    #[test]
    fn many_unchanged_objects_are_only_counted() {
        let mut objects: Vec<Value> = (0..=NAMED).map(|n| object(&n.to_string(), "unchanged")).collect();
        objects.push(object("new", "created"));
        let text = body_of(&json!({ "objects": objects }));
        assert_eq!(text, "  created    ConfigMap shop/new\n  11 unchanged, 1 created");
    }
}
