//! Formats findings as a self-contained HTML page. All findings are in the page; the script groups and filters them and
//! draws a graph of the objects involved.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use sailhand_base::prose::plural;
use sailhand_base::xml::escaped;
use serde_json::json;

use super::{Report, counted, graph::Graph, text};
use crate::source::{Position, Source};
use crate::{Finding, Level};

const STYLE: &str = include_str!("html/page.css");
/// The graph defines what the page calls.
const SCRIPTS: [&str; 2] = [include_str!("html/graph.js"), include_str!("html/page.js")];

/// Longest excerpt of a line, characters: what fits a page beside its margins.
const EXCERPT: usize = 90;

/// Where the findings come from: a report must be understood without its command line.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// Analyzed files, folders and clusters.
    pub inputs: Vec<String>,
    /// Time of the analysis, for people.
    pub time: String,
    /// Version of the program.
    pub version: String,
    /// Parts of the input that were skipped, overwritten or suppressed, one sentence each.
    pub notes: Vec<String>,
}

/// Writes the page.
///
/// # Errors
/// Errors of the writer.
pub fn write(report: &Report<'_>, graph: &Graph, about: &About, out: &mut impl fmt::Write) -> fmt::Result {
    writeln!(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">")?;
    writeln!(out, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">")?;
    // The page contains names from untrusted objects, so the policy forbids loading resources.
    writeln!(
        out,
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
    )?;
    writeln!(
        out,
        "<title>Istio configuration of {}: {}</title>\n<style>\n{STYLE}</style></head><body>",
        escaped(&about.inputs.join(", ")),
        plural(report.findings.len(), "finding")
    )?;
    head(report, about, out)?;
    filters(report, out)?;
    writeln!(out, "<section id=\"graph\" hidden><h2>Objects involved</h2><p class=\"quiet\" id=\"graph-note\"></p>")?;
    writeln!(
        out,
        "<p class=\"legend\"><span><i class=\"error\"></i>error</span><span><i class=\"warning\"></i>warning</span>\
         <span><i class=\"info\"></i>info</span><span><i></i>no finding</span>\
         <span><i class=\"missing\"></i>not found, and references to it</span></p><div id=\"drawing\"></div></section>"
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
    writeln!(out, "<script>\n{}</script></body></html>", SCRIPTS.concat())
}

fn head(report: &Report<'_>, about: &About, out: &mut impl fmt::Write) -> fmt::Result {
    writeln!(out, "<header><h1>Istio configuration</h1><dl class=\"about\">")?;
    let inputs = about.inputs.join(", ");
    let version = format!("sailhand {}", about.version);
    for (name, value) in [("Analyzed", &inputs), ("Time", &about.time), ("Version", &version)] {
        writeln!(out, "<dt>{name}</dt><dd>{}</dd>", escaped(value))?;
    }
    writeln!(out, "</dl><p class=\"counts\">")?;
    for level in [Level::Error, Level::Warning, Level::Info] {
        writeln!(
            out,
            "<button class=\"count {level}\" value=\"{level}\" aria-pressed=\"false\" title=\"Show only these\">{}</button>",
            emphasized(&counted(report, level))
        )?;
    }
    writeln!(out, "<span class=\"count\">{}</span></p>", emphasized(&plural(report.objects, "object")))?;
    if !about.notes.is_empty() {
        writeln!(out, "<details class=\"notes\" open><summary>{}</summary><ul>", plural(about.notes.len(), "note"))?;
        for note in &about.notes {
            writeln!(out, "<li>{}</li>", escaped(note))?;
        }
        writeln!(out, "</ul></details>")?;
    }
    writeln!(out, "</header>")
}

/// The text with its first word, the number, in bold.
fn emphasized(text: &str) -> String {
    text.split_once(' ').map_or_else(|| text.to_owned(), |(count, word)| format!("<b>{count}</b> {word}"))
}

fn filters(report: &Report<'_>, out: &mut impl fmt::Write) -> fmt::Result {
    let namespaces: BTreeSet<&str> = report.findings.iter().map(|finding| &*finding.object.namespace).collect();
    writeln!(
        out,
        "<details id=\"panel\" class=\"panel\" open><summary>Filter: <output id=\"shown\" form=\"filter\"></output></summary>\
         <form id=\"filter\" class=\"filter\"><label>Group by <select name=\"group\"><option value=\"object\">object</option>\
         <option value=\"file\">file</option><option value=\"code\">code</option></select></label>\
         <label>Namespace <select name=\"namespace\"><option value=\"*\">all</option>"
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
        "</select></label><label>Text <input name=\"text\" type=\"search\" placeholder=\"name, host, field\"></label>\
         <label class=\"check\"><input name=\"graph\" type=\"checkbox\"> Show the graph</label>\
         <button type=\"reset\">Clear</button></form></details>"
    )
}

fn row(report: &Report<'_>, finding: &Finding, out: &mut impl fmt::Write) -> fmt::Result {
    let object = finding.object.to_string();
    let (level, code) = (finding.level, finding.code);
    let position = report.sources.position(finding);
    let file = position.map_or("", |(source, _)| source.name.as_str());
    writeln!(
        out,
        "<article class=\"{level}\" data-namespace=\"{}\" data-level=\"{level}\" data-code=\"{}\" data-object=\"{}\" \
         data-file=\"{}\" data-title=\"{}\">",
        escaped(&finding.object.namespace),
        code.id,
        escaped(&object),
        escaped(file),
        escaped(code.title)
    )?;
    writeln!(
        out,
        "<h3><span class=\"level\">{level}</span> <a href=\"{}\" rel=\"noreferrer\">{}</a> {}</h3>",
        escaped(&code.url()),
        code.id,
        escaped(code.title)
    )?;
    writeln!(out, "<p class=\"object\">{}</p><p>{}</p>", escaped(&object), escaped(&finding.message))?;
    let place = position.map(|(source, at)| format!("{}:{}:{}", source.name, at.line, at.column));
    let place: Vec<&str> =
        place.iter().map(String::as_str).chain([&*finding.field]).filter(|it| !it.is_empty()).collect();
    if !place.is_empty() {
        writeln!(out, "<p class=\"place\">{}</p>", escaped(&place.join(" · ")))?;
    }
    if let Some((source, position)) = position {
        excerpt(finding, source, position, out)?;
    }
    let related: Vec<String> =
        finding.related.iter().map(|related| escaped(&related.to_string()).into_owned()).collect();
    if !related.is_empty() {
        writeln!(out, "<p class=\"quiet\">See also {}</p>", related.join(", "))?;
    }
    writeln!(
        out,
        "<p class=\"fix\"><b>Fix:</b> {}</p><details class=\"why\"><summary>Why it matters</summary><p>{}</p></details></article>",
        escaped(code.remedy),
        escaped(code.why)
    )
}

/// The line of the finding with a caret below the field, as on the terminal.
fn excerpt(finding: &Finding, source: &Source, position: Position, out: &mut impl fmt::Write) -> fmt::Result {
    let Some(text::Excerpt { line, caret, length }) = text::excerpt(finding, source, position, EXCERPT) else {
        return Ok(());
    };
    let number = position.line.to_string();
    let margin = " ".repeat(number.len());
    writeln!(
        out,
        "<pre class=\"excerpt\"><span class=\"number\">{number} | </span>{}\n<span class=\"number\">{margin} | </span>{}\
         <span class=\"caret\">{}</span></pre>",
        escaped(&line),
        " ".repeat(caret),
        "^".repeat(length)
    )
}
