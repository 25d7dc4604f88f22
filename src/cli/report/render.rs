//! A report as text for the terminal.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use serde_json::Value;

use crate::cli::output::{self, BAD, CHANGED, Format, GOOD, QUIET, STRONG, Style, styled};
use crate::cli::table::{self, Table};
use crate::prose;
use crate::report::{Block, Cell, Change, CodeGroup, ObjectLine, Objects, Tone};

/// Maximum number of objects that are listed for each action, if the action is all that there is to report.
pub(super) const NAMED: usize = 10;
/// Lines of one text that are shown of those that differ.
const LINES: usize = 20;
/// Characters of one value that are shown.
pub(super) const WIDE: usize = 300;
/// Indentation of what belongs to an object.
const INDENT: &str = "             ";

/// Blocks one below the other. `wide` names unchanged objects and shortens nothing.
pub(super) fn text(blocks: &[Block], wide: bool) -> String {
    let mut text = String::new();
    for block in blocks {
        match block {
            Block::Line(cell) => drop(writeln!(text, "{}", wrapped(&toned(cell.tone, &cell.text), 0, 2))),
            Block::Text(lines) => drop(writeln!(text, "{}", lines.trim_end())),
            Block::Table { header, rows } => {
                if !text.is_empty() {
                    text.push('\n');
                }
                put(header, rows, wide, &mut text);
            }
            Block::List { title, items } => list(title, items, &mut text),
            Block::Objects(objects) => put_objects(objects, wide, &mut text),
            Block::Message { severity, text: message } => put_message(severity, message, &mut text),
            Block::Code(group) => code(group, &mut text),
        }
    }
    text
}

const fn style(tone: Tone) -> Option<Style> {
    match tone {
        Tone::Plain => None,
        Tone::Strong => Some(STRONG),
        Tone::Quiet => Some(QUIET),
        Tone::Good => Some(GOOD),
        Tone::Changed => Some(CHANGED),
        Tone::Bad => Some(BAD),
    }
}

fn toned(tone: Tone, text: &str) -> String {
    style(tone).map_or_else(|| text.to_owned(), |style| styled(style, text))
}

/// Text wrapped at the width of the terminal, after `used` columns.
fn wrapped(text: &str, used: usize, indent: usize) -> String {
    prose::fold(text, used, indent, output::width())
}

fn put(header: &[&'static str], rows: &[Vec<Cell>], wide: bool, text: &mut String) {
    let mut table = Table::new(header);
    for row in rows {
        table.row(row.iter().map(|cell| match style(cell.tone) {
            Some(style) => table::Cell::styled(style, &cell.text),
            None => table::Cell::plain(&cell.text),
        }));
    }
    let _ = writeln!(text, "{}", table.text(if wide { Format::Wide } else { Format::Text }));
}

fn list(title: &str, items: &[String], text: &mut String) {
    let _ = writeln!(text, "{}", styled(QUIET, title));
    for item in items {
        let _ = writeln!(text, "  {}", wrapped(item, 2, 4));
    }
}

/// A message with its severity.
pub(super) fn put_message(severity: &Cell, message: &str, text: &mut String) {
    let word = toned(severity.tone, &format!("{}:", severity.text));
    let _ = writeln!(text, "  {word} {}", wrapped(message, severity.text.len() + 4, 4));
}

fn code(group: &CodeGroup, text: &mut String) {
    let level = toned(group.level.tone, &format!("{}[{}]", group.level.text, group.code));
    let title = format!("{level}: {}", styled(STRONG, &group.title));
    let _ = writeln!(text, "{}", wrapped(&title, 0, 4));
    for (place, message) in &group.findings {
        let _ = writeln!(text, "  {}", wrapped(&format!("{place}: {message}"), 2, 4));
    }
    if !group.remedy.is_empty() {
        let _ = writeln!(text, "  {} {}", styled(GOOD, "help:"), wrapped(&group.remedy, 8, 4));
    }
    text.push('\n');
}

/// Objects, each with its reason, error and changes, and their number.
pub(super) fn put_objects(objects: &Objects, wide: bool, text: &mut String) {
    if objects.lines.is_empty() {
        return;
    }
    let unchanged = objects.lines.iter().filter(|object| object.is_unchanged).count();
    // The same problem of many objects is explained once.
    let mut explained = HashSet::new();
    let mut named: HashMap<&str, usize> = HashMap::new();
    for object in &objects.lines {
        if object.is_unchanged && unchanged > NAMED && !wide {
            continue;
        }
        if is_plain(object) && !wide {
            let count = named.entry(object.word).or_default();
            *count += 1;
            if *count > NAMED {
                continue;
            }
        }
        let word = toned(object.tone, &format!("{:<10}", object.word));
        let mut line = object.object.clone();
        if !object.reason.is_empty() {
            let _ = write!(line, " {}", styled(QUIET, format_args!("({})", object.reason)));
        }
        let _ = writeln!(text, "  {word} {}", wrapped(&line, INDENT.len(), INDENT.len()));
        if let Some(problem) = &object.problem {
            if explained.insert((&problem.code, &problem.message)) {
                let below = |text: &str, used| wrapped(text, INDENT.len() + used, INDENT.len() + used);
                let _ = writeln!(text, "{INDENT}{} {}", styled(BAD, &problem.code), below(&problem.message, 7));
                let _ = writeln!(text, "{INDENT}{} {}", styled(GOOD, "help:"), below(&problem.remedy, 6));
            } else {
                let _ = writeln!(text, "{INDENT}{} {}", styled(BAD, &problem.code), styled(QUIET, "the same error"));
            }
        }
        for change in &object.changes {
            put_change(change, wide, text);
        }
    }
    let more: usize = named.values().map(|count| count.saturating_sub(NAMED)).sum();
    let more = if more == 0 { String::new() } else { format!(" ({more} not listed: -o wide)") };
    let summary = styled(QUIET, format_args!("{}{more}", objects.summary));
    let _ = writeln!(text, "  {}", wrapped(&summary, 2, 2));
}

/// Whether the action is all that there is to report about the object.
const fn is_plain(object: &ObjectLine) -> bool {
    object.reason.is_empty() && object.problem.is_none() && object.changes.is_empty()
}

/// A field with its old and its new value. Of texts of several lines, such as those in a `ConfigMap`, only the lines that
/// differ are shown.
fn put_change(change: &Change, wide: bool, text: &mut String) {
    let most = if wide { usize::MAX } else { LINES };
    let lines = |value: &Option<Value>| {
        value.as_ref().and_then(Value::as_str).map(|all| all.lines().map(str::to_owned).collect::<Vec<_>>())
    };
    if let (Some(from), Some(to)) = (lines(&change.from), lines(&change.to))
        && from.len().max(to.len()) > 1
    {
        let _ = writeln!(text, "{INDENT}{}:", change.path);
        let only = |these: &[String], others: &[String], sign: char, style: Style| {
            let others: HashSet<_> = others.iter().collect();
            let differing = these.iter().filter(|line| !others.contains(line));
            differing.map(|line| styled(style, format_args!("{sign} {}", clip(line, wide)))).collect::<Vec<_>>()
        };
        let found = [only(&from, &to, '-', BAD), only(&to, &from, '+', GOOD)].concat();
        for line in found.iter().take(most) {
            let _ = writeln!(text, "{INDENT}  {line}");
        }
        match found.len().saturating_sub(most) {
            0 if found.is_empty() => drop(writeln!(text, "{INDENT}  (the same lines in another order)")),
            0 => {}
            more => drop(writeln!(text, "{INDENT}  ({more} more lines)")),
        }
        return;
    }
    let side = |value: &Option<Value>, style| match value {
        None => styled(QUIET, "(none)"),
        Some(value) => styled(style, clip(&value.to_string(), wide)),
    };
    let (from, to) = (side(&change.from, BAD), side(&change.to, GOOD));
    let _ = writeln!(text, "{INDENT}{}: {from} → {to}", change.path);
}

/// A value, shortened unless `wide`.
fn clip(value: &str, wide: bool) -> String {
    match value.char_indices().nth(WIDE).filter(|_| !wide) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::{Words, blocks};
    use crate::task::mesh::MeshReport;

    fn shown(verb: &str, value: &Value) -> String {
        anstream::adapter::strip_str(&text(&blocks(verb, value, false).unwrap(), false)).to_string()
    }

    fn object(name: &str, action: &str) -> Value {
        json!({"object": {"api_version": "v1", "kind": "Service", "namespace": "a", "name": name}, "action": action})
    }

    #[test]
    fn components_of_a_mesh_are_rows() {
        let report = MeshReport {
            version: None,
            revision: "default".to_owned(),
            parts: Vec::new(),
            moved: vec!["namespace shop".to_owned()],
            leftovers: Vec::new(),
            findings: Vec::new(),
            gate: None,
            dry_run: false,
        };
        let mut value = serde_json::to_value(report).unwrap();
        value["parts"] = json!([
            {"component": "base", "installation": "istio-base", "version": "1.30.3", "ready": true,
             "objects": [object("x", "unchanged"), object("y", "created")]},
            {"component": "gateway", "name": "a-edge", "installation": "g", "objects": [object("z", "deleted")]},
        ]);
        let text = shown("mesh.install", &value);
        assert_eq!(
            text,
            "COMPONENT  NAME    VERSION  READY  OBJECTS\n\
             base               1.30.3   yes    1 unchanged, 1 created\n\
             gateway    a-edge           -      1 deleted\n  \
             created    Service a/y\n  1 created\n  \
             deleted    Service a/z\n  1 deleted\n\
             moved or restarted\n  namespace shop\n"
        );
    }

    /// Before: an installation printed a line for each of its 40 objects.
    #[test]
    fn many_objects_with_the_same_outcome_are_counted() {
        let reports = (0..14).map(|n| serde_json::from_value(object(&format!("s{n}"), "created")).unwrap());
        let objects = Objects::of(Words::Done, &reports.collect::<Vec<_>>());
        let shown = |wide| {
            let mut text = String::new();
            put_objects(&objects, wide, &mut text);
            anstream::adapter::strip_str(&text).to_string()
        };
        assert!(shown(false).contains("created    Service a/s9\n") && !shown(false).contains("a/s10"));
        assert!(shown(false).ends_with("14 created (4 not listed: -o wide)\n"), "{}", shown(false));
        assert!(shown(true).contains("a/s13") && shown(true).ends_with("14 created\n"), "{}", shown(true));
    }

    #[test]
    fn findings_of_the_analysis_are_grouped_by_code() {
        let finding = |name: &str| json!({"code": "IST0101", "severity": "error", "resource": name, "message": "host a not found", "fingerprint": "f"});
        let report = json!({
            "objects": 2, "errors": 2, "warnings": 0, "infos": 0, "findings": [finding("A b/c"), finding("A b/d")],
            "codes": {"IST0101": {"count": 2, "title": "Referenced resource not found", "remedy": "Create it.", "url": "u"}},
        });
        assert_eq!(
            shown("config.analyze", &report),
            "error[IST0101]: Referenced resource not found\n  A b/c: host a not found\n  A b/d: host a not found\n  \
             help: Create it.\n\n2 errors, 0 warnings, 0 info in 2 objects\n"
        );
    }

    #[test]
    fn traffic_is_a_table_of_subsets_and_a_list_of_rules() {
        let report = json!({
            "services": [{"service": "reviews", "rules": ["80 % to v1, 20 % to v2"],
                "subsets": [{"name": "v1", "labels": {"version": "v1"}, "ready_pods": 2}]}],
            "warnings": ["no pod has a proxy"], "objects": [],
        });
        assert_eq!(
            shown("traffic.apply", &report),
            "SERVICE  SUBSET  LABELS      READY PODS\nreviews  v1      version=v1  2\n\
             rules of reviews\n  80 % to v1, 20 % to v2\n  warning: no pod has a proxy\n"
        );
    }

    #[test]
    fn a_report_of_a_newer_version_has_no_table() {
        assert_eq!(blocks("mesh.status", &json!({"something": "new"}), false), None);
        assert_eq!(blocks("ping", &json!({}), false), None);
    }
}
