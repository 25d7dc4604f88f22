//! Findings for people: by object, each with the line it is about, as a compiler shows it.

use std::fmt::{self, Write as _};

use anstyle::{AnsiColor, Style};

use super::Report;
use crate::analysis::source::{Position, Source};
use crate::analysis::{Finding, Level};

const QUIET: Style = Style::new().dimmed();
const STRONG: Style = Style::new().bold();
const HELP: Style = AnsiColor::Green.on_default();

/// The findings, then how many there are.
///
/// # Errors
/// The writer's.
pub fn write(report: &Report<'_>, out: &mut impl fmt::Write) -> fmt::Result {
    let mut order: Vec<&Finding> = report.findings.iter().collect();
    // By object, and the objects with the worst findings first: the order of findings does that within each.
    let mut worst = std::collections::BTreeMap::new();
    for finding in &order {
        let level = worst.entry(&finding.object).or_insert(finding.level);
        *level = finding.level.max(*level);
    }
    order.sort_by_key(|finding| (std::cmp::Reverse(worst.get(&finding.object).copied()), &finding.object));
    let mut last = None;
    for finding in order {
        if last != Some(&finding.object) {
            heading(finding, out)?;
            last = Some(&finding.object);
        }
        one(finding, report.sources.position(finding), out)?;
    }
    summary(report, out)
}

fn heading(finding: &Finding, out: &mut impl fmt::Write) -> fmt::Result {
    let cluster = &finding.object.cluster;
    let cluster = if cluster.is_empty() { String::new() } else { format!(" of cluster {cluster}") };
    writeln!(out, "{STRONG}{}{STRONG:#}{cluster}", finding.object)
}

fn one(finding: &Finding, place: Option<(&Source, Position)>, out: &mut impl fmt::Write) -> fmt::Result {
    let style = style(finding.level);
    writeln!(out, "  {style}{}[{}]{style:#}: {}", finding.level, finding.code.id, finding.message)?;
    match place {
        Some((source, position)) => excerpt(finding, source, position, out)?,
        None if !finding.field.is_empty() => writeln!(out, "    {QUIET}at{QUIET:#} {}", finding.field)?,
        None => {}
    }
    writeln!(out, "    {HELP}help:{HELP:#} {}", finding.code.remedy)?;
    writeln!(out)
}

fn excerpt(finding: &Finding, source: &Source, position: Position, out: &mut impl fmt::Write) -> fmt::Result {
    let Position { line, column, length } = position;
    writeln!(out, "    {QUIET}-->{QUIET:#} {}:{line}:{column}", source.name)?;
    let text = line_of(source, finding, line);
    // What a secret holds is nobody's business on a screen.
    if text.is_empty() || finding.object.kind == crate::analysis::Kind::Secret {
        return Ok(());
    }
    let number = line.to_string();
    let mark = "^".repeat(length.clamp(1, 60));
    let style = style(finding.level);
    let shown: String = text.chars().take(160).map(|c| if c.is_control() { ' ' } else { c }).collect();
    writeln!(out, "    {QUIET}{number} |{QUIET:#} {shown}")?;
    writeln!(out, "    {QUIET}{} |{QUIET:#} {}{style}{mark}{style:#}", " ".repeat(number.len()), " ".repeat(column - 1))
}

/// The text of a line, counted from the finding's document, which is nearer than the file's start.
fn line_of<'a>(source: &'a Source, finding: &Finding, line: usize) -> &'a str {
    let Some(origin) = finding.origin else { return "" };
    let document = usize::try_from(origin.start).ok().and_then(|start| source.text.get(start..)).unwrap_or_default();
    let skip = line.saturating_sub(usize::try_from(origin.line).unwrap_or(1));
    document.lines().nth(skip).unwrap_or_default()
}

fn summary(report: &Report<'_>, out: &mut impl fmt::Write) -> fmt::Result {
    let objects = plural(report.objects, "object");
    if report.findings.is_empty() {
        return writeln!(out, "{HELP}No findings{HELP:#} in {objects}{}.", accepted(report));
    }
    let mut parts = String::new();
    for (level, word) in [(Level::Error, "error"), (Level::Warning, "warning"), (Level::Info, "remark")] {
        let count = report.count(level);
        if count > 0 {
            let style = style(level);
            let separator = if parts.is_empty() { "" } else { ", " };
            write!(parts, "{separator}{style}{}{style:#}", plural(count, word))?;
        }
    }
    let accepted = accepted(report);
    writeln!(
        out,
        "{parts} in {objects}{accepted}. {QUIET}`sailhand analyze --explain CODE` tells more about one.{QUIET:#}"
    )
}

fn accepted(report: &Report<'_>) -> String {
    if report.suppressed == 0 { String::new() } else { format!(", {} suppressed", report.suppressed) }
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

fn style(level: Level) -> Style {
    match level {
        Level::Error => AnsiColor::Red.on_default().bold(),
        Level::Warning => AnsiColor::Yellow.on_default().bold(),
        Level::Info => AnsiColor::Cyan.on_default().bold(),
    }
}
