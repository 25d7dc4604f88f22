//! Formats findings as a self-contained HTML page. All findings are in the page; the script filters them and draws a
//! graph of the objects involved.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::json;

use super::{Report, counted, escaped, graph::Graph, plural};
use crate::{Finding, Level};

const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");

/// Writes the page.
///
/// # Errors
/// Errors of the writer.
pub fn write(report: &Report<'_>, graph: &Graph, out: &mut impl fmt::Write) -> fmt::Result {
    writeln!(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">")?;
    writeln!(out, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">")?;
    // The page contains names from untrusted objects, so the policy forbids loading resources.
    writeln!(
        out,
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
    )?;
    writeln!(
        out,
        "<title>Istio configuration: {} findings</title>\n<style>\n{STYLE}</style></head><body>",
        report.findings.len()
    )?;
    head(report, out)?;
    filters(report, out)?;
    writeln!(
        out,
        "<section id=\"graph\" hidden><h2>Objects involved</h2><p class=\"quiet\" id=\"graph-note\"></p><div id=\"drawing\"></div></section>"
    )?;
    writeln!(out, "<main id=\"findings\">")?;
    for finding in report.findings {
        row(report, finding, out)?;
    }
    writeln!(out, "</main><p id=\"none\" hidden>No finding matches the filter.</p>")?;
    if report.findings.is_empty() {
        writeln!(out, "<p class=\"good\">No findings.</p>")?;
    }
    let data = json!({"nodes": graph.nodes, "edges": graph.edges, "cut": graph.cut});
    // An unescaped `<` could close the element.
    writeln!(
        out,
        "<script type=\"application/json\" id=\"objects\">{}</script>",
        data.to_string().replace('<', "\\u003c")
    )?;
    writeln!(out, "<script>\n{SCRIPT}</script></body></html>")
}

fn head(report: &Report<'_>, out: &mut impl fmt::Write) -> fmt::Result {
    writeln!(out, "<header><h1>Istio configuration</h1><p class=\"counts\">")?;
    for level in [Level::Error, Level::Warning, Level::Info] {
        writeln!(out, "<span class=\"count {level}\">{}</span>", emphasized(&counted(report, level)))?;
    }
    writeln!(out, "<span class=\"count\">{}</span></p></header>", emphasized(&plural(report.objects, "object")))
}

/// The text with its first word, the number, in bold.
fn emphasized(text: &str) -> String {
    text.split_once(' ').map_or_else(|| text.to_owned(), |(count, word)| format!("<b>{count}</b> {word}"))
}

fn filters(report: &Report<'_>, out: &mut impl fmt::Write) -> fmt::Result {
    let namespaces: BTreeSet<&str> = report.findings.iter().map(|finding| &*finding.object.namespace).collect();
    writeln!(
        out,
        "<form id=\"filter\" class=\"filter\"><label>Namespace <select name=\"namespace\"><option value=\"*\">all</option>"
    )?;
    for namespace in namespaces {
        let shown = if namespace.is_empty() { "(none)" } else { namespace };
        writeln!(out, "<option value=\"{}\">{}</option>", escaped(namespace), escaped(shown))?;
    }
    writeln!(out, "</select></label><label>Level <select name=\"level\"><option value=\"*\">all</option>")?;
    for level in [Level::Error, Level::Warning, Level::Info] {
        writeln!(out, "<option>{level}</option>")?;
    }
    writeln!(out, "</select></label><label>Code <select name=\"code\"><option value=\"*\">all</option>")?;
    let titles: BTreeMap<&str, &str> = report.findings.iter().map(|it| (it.code.id, it.code.title)).collect();
    for (code, count) in report.by_code() {
        let title = titles.get(code).copied().unwrap_or_default();
        writeln!(out, "<option value=\"{code}\">{code} ({count}) {}</option>", escaped(title))?;
    }
    writeln!(
        out,
        "</select></label><label>Text <input name=\"text\" type=\"search\" placeholder=\"name, host, field\"></label>"
    )?;
    writeln!(
        out,
        "<label class=\"check\"><input name=\"graph\" type=\"checkbox\"> graph</label><output id=\"shown\"></output></form>"
    )
}

fn row(report: &Report<'_>, finding: &Finding, out: &mut impl fmt::Write) -> fmt::Result {
    let object = finding.object.to_string();
    let (level, code) = (finding.level, finding.code);
    writeln!(
        out,
        "<article class=\"{level}\" data-namespace=\"{}\" data-level=\"{level}\" data-code=\"{}\" data-object=\"{}\">",
        escaped(&finding.object.namespace),
        code.id,
        escaped(&object)
    )?;
    let url = code.url();
    writeln!(
        out,
        "<h3><span class=\"level\">{level}</span> <a href=\"{}\" rel=\"noreferrer\" title=\"{}\">{}</a> {}</h3>",
        escaped(&url),
        escaped(code.title),
        code.id,
        escaped(&object)
    )?;
    writeln!(out, "<p>{}</p>", escaped(&finding.message))?;
    let file = report.sources.position(finding).map(|(source, at)| format!("{}:{}", source.name, at.line));
    let place: Vec<&str> =
        file.iter().map(String::as_str).chain([&*finding.field]).filter(|it| !it.is_empty()).collect();
    if !place.is_empty() {
        writeln!(out, "<p class=\"place\">{}</p>", escaped(&place.join(" · ")))?;
    }
    let related: Vec<String> =
        finding.related.iter().map(|related| escaped(&related.to_string()).into_owned()).collect();
    if !related.is_empty() {
        writeln!(out, "<p class=\"quiet\">see also {}</p>", related.join(", "))?;
    }
    writeln!(
        out,
        "<details><summary>{}</summary><p>{}</p></details></article>",
        escaped(code.remedy),
        escaped(code.why)
    )
}
