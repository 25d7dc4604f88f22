//! Formats findings as a Markdown table, for a comment on a pull request.

use std::fmt::{self, Write as _};

use sailhand_base::prose::plural;

use super::{Report, counted};
use crate::{Finding, Level};

/// Maximum number of rows, because comments are limited in size.
const MOST: usize = 200;

/// Writes the document.
///
/// # Errors
/// Errors of the writer.
pub fn write(report: &Report<'_>, out: &mut impl fmt::Write) -> fmt::Result {
    if report.findings.is_empty() {
        return writeln!(out, "No findings in {}.", plural(report.objects, "object"));
    }
    writeln!(
        out,
        "**{}, {}, {}** in {}.\n",
        counted(report, Level::Error),
        counted(report, Level::Warning),
        counted(report, Level::Info),
        plural(report.objects, "object")
    )?;
    writeln!(out, "| | code | object | finding | where |\n|---|---|---|---|---|")?;
    for finding in report.findings.iter().take(MOST) {
        row(report, finding, out)?;
    }
    if report.findings.len() > MOST {
        writeln!(out, "\n{} more findings are not shown.", report.findings.len() - MOST)?;
    }
    Ok(())
}

fn row(report: &Report<'_>, finding: &Finding, out: &mut impl fmt::Write) -> fmt::Result {
    let place = report.sources.position(finding);
    let place =
        place.map_or_else(|| finding.field.clone(), |(source, position)| format!("{}:{}", source.name, position.line));
    let mut cells = String::new();
    let code = format!("[{}]({})", finding.code.id, finding.code.url());
    for cell in [&cell(finding.level.as_str()), &code, &cell(&finding.object.to_string()), &cell(&finding.message)] {
        write!(cells, "| {cell} ")?;
    }
    writeln!(out, "{cells}| {} |", cell(&place))
}

/// Escapes text for a table cell.
fn cell(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '~' | '#' => safe.extend(['\\', c]),
            '<' => safe.push_str("&lt;"),
            '&' => safe.push_str("&amp;"),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}
