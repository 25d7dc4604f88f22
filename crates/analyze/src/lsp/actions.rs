//! Answers about a place: the page of the rule on hover, and the changes that resolve findings.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use sailhand_analysis::report::pages;
use serde_json::{Value as Json, json};

use super::document::{Document, Placed, diagnostic};
use super::protocol::{CodeAction, Encoding, Position, Range, TextEdit};

/// The kind of an action that resolves one finding.
pub const QUICK_FIX: &str = "quickfix";
/// The kind of the action that resolves all findings of a document that have a mechanical remedy.
pub const FIX_ALL: &str = "source.fixAll.sailhand";

static PAGES: LazyLock<BTreeMap<String, String>> = LazyLock::new(pages::pages);

/// Message and page of the findings at a position; null where there is none.
pub fn hover(document: &Document, position: Position, encoding: Encoding) -> Json {
    let at = Range { start: position, end: position };
    let placed = document.placed(encoding);
    let here: Vec<&Placed<'_>> = placed.iter().filter(|placed| placed.range.touches(&at)).collect();
    let Some(first) = here.first() else { return Json::Null };
    let mut codes: Vec<&str> = Vec::new();
    let mut texts: Vec<String> = Vec::new();
    for placed in &here {
        texts.push(format!("**{}**: {}", placed.problem.code, escaped(&placed.problem.message)));
        if !codes.contains(&placed.problem.code) {
            codes.push(placed.problem.code);
        }
    }
    texts.extend(codes.iter().filter_map(|code| PAGES.get(&format!("{code}.md")).cloned()));
    json!({"contents": {"kind": "markdown", "value": texts.join("\n\n---\n\n")}, "range": first.range})
}

/// Messages repeat names from files, which are no Markdown.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '!' | '|' | '~') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// The changes that resolve the findings in a range, and the one that resolves all of the document.
pub fn actions(document: &Document, params: &CodeAction, encoding: Encoding) -> Json {
    let wants = |kind: &str| {
        let only = params.context.only.as_deref();
        only.is_none_or(|only| {
            only.iter().any(|one| kind == one || kind.strip_prefix(one.as_str()).is_some_and(|it| it.starts_with('.')))
        })
    };
    let placed = document.placed(encoding);
    let fixable: Vec<&Placed<'_>> = placed.iter().filter(|placed| !placed.edits.is_empty()).collect();
    let mut actions = Vec::new();
    if wants(QUICK_FIX) {
        for one in fixable.iter().filter(|placed| placed.range.touches(&params.range)) {
            let title = format!("Fix {}: {}", one.problem.code, one.problem.message);
            actions.push(json!({
                "title": title,
                "kind": QUICK_FIX,
                "isPreferred": true,
                "diagnostics": [diagnostic(one.problem, one.range)],
                "edit": edit(document, &edits(&[one])),
            }));
        }
    }
    if wants(FIX_ALL) && !fixable.is_empty() {
        let title = "Fix all findings of sailhand with a mechanical remedy";
        actions.push(json!({"title": title, "kind": FIX_ALL, "edit": edit(document, &edits(&fixable))}));
    }
    Json::Array(actions)
}

/// The edits of problems, without those that overlap with earlier ones.
fn edits(placed: &[&Placed<'_>]) -> Vec<TextEdit> {
    let all = placed.iter().flat_map(|placed| &placed.edits);
    let mut all: Vec<TextEdit> =
        all.map(|(range, text)| TextEdit { range: *range, new_text: (*text).to_owned() }).collect();
    all.sort_by_key(|edit| (edit.range.start, edit.range.end));
    all.dedup();
    let mut kept: Vec<TextEdit> = Vec::new();
    for edit in all {
        if kept.last().is_none_or(|last| last.range.end <= edit.range.start) {
            kept.push(edit);
        }
    }
    kept
}

fn edit(document: &Document, edits: &[TextEdit]) -> Json {
    json!({"changes": {&document.uri: edits}})
}
