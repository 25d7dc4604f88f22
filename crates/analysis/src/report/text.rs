//! Formats findings for a terminal: errors and warnings by object, each with an excerpt of its line, as a compiler
//! does; info findings by code, because there may be hundreds of them. The first finding of a code explains why it
//! matters and what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use anstyle::{AnsiColor, Style};

use super::{Report, counted};
use crate::source::{Position, Source};
use crate::{Code, Finding, Level};
use sailhand_base::prose::{self, plural};

const QUIET: Style = Style::new().dimmed();
const STRONG: Style = Style::new().bold();
const HELP: Style = AnsiColor::Green.on_default();

/// Info findings that are printed for each code, without `all`.
const INFOS: usize = 5;
/// Warnings that are printed for each code, without `all`.
const WARNINGS: usize = 10;
/// Longest excerpt of a line, characters.
const LINE: usize = 160;

/// Layout of the output.
#[derive(Debug, Clone, Copy, Default)]
pub struct Layout {
    /// Width at which text is wrapped, columns; none disables wrapping.
    pub width: Option<usize>,
    /// Print every warning and info finding, without a limit for each code.
    pub all: bool,
}

/// Writes the findings and a summary.
///
/// # Errors
/// Errors of the writer.
pub fn write(report: &Report<'_>, layout: Layout, out: &mut impl fmt::Write) -> fmt::Result {
    let mut text = Text { report, layout, explained: BTreeSet::new(), out };
    let (infos, others): (Vec<&Finding>, Vec<&Finding>) =
        report.findings.iter().partition(|finding| finding.level == Level::Info);
    text.by_object(others)?;
    text.by_code(&infos)?;
    text.summary()
}

struct Text<'a, W> {
    report: &'a Report<'a>,
    layout: Layout,
    /// Codes that have been explained.
    explained: BTreeSet<&'static str>,
    out: &'a mut W,
}

impl<W: fmt::Write> Text<'_, W> {
    /// Prints the objects with the most severe findings first; the findings of an object are already in this order.
    fn by_object(&mut self, mut findings: Vec<&Finding>) -> fmt::Result {
        let mut worst = BTreeMap::new();
        for finding in &findings {
            let level = worst.entry(&finding.object).or_insert(finding.level);
            *level = finding.level.max(*level);
        }
        findings.sort_by_key(|finding| (std::cmp::Reverse(worst.get(&finding.object).copied()), &finding.object));
        let mut last = None;
        let mut warnings: BTreeMap<&str, usize> = BTreeMap::new();
        for finding in findings {
            if finding.level == Level::Warning {
                let reported = warnings.entry(finding.code.id).or_default();
                *reported += 1;
                if *reported > WARNINGS && !self.layout.all {
                    continue;
                }
            }
            if last != Some(&finding.object) {
                writeln!(self.out, "{STRONG}{}{STRONG:#}", named(finding))?;
                last = Some(&finding.object);
            }
            let style = level_style(finding.level);
            let head = format!("  {style}{}[{}]{style:#}: ", finding.level, finding.code.id);
            let indent = finding.level.to_string().len() + finding.code.id.len() + 6;
            self.prose(&head, indent, 4, &finding.message)?;
            match self.report.sources.position(finding) {
                Some((source, position)) => {
                    self.place(finding, source, position, 4)?;
                    self.excerpt(finding, source, position)?;
                }
                None if !finding.field.is_empty() => writeln!(self.out, "    {QUIET}at{QUIET:#} {}", finding.field)?,
                None => {}
            }
            self.explain(finding.code, 4)?;
            writeln!(self.out)?;
        }
        let mut is_more = false;
        let all = self.layout.all;
        for (code, more) in warnings.into_iter().filter(|(_, reported)| *reported > WARNINGS && !all) {
            let style = level_style(Level::Warning);
            write!(self.out, "{style}{}[{code}]{style:#}: ", Level::Warning)?;
            self.more(more - WARNINGS, code)?;
            is_more = true;
        }
        if is_more { writeln!(self.out) } else { Ok(()) }
    }

    fn more(&mut self, count: usize, code: &str) -> fmt::Result {
        writeln!(
            self.out,
            "and {count} more: {QUIET}--codes {code}{QUIET:#} or {QUIET}-o json{QUIET:#} shows all of them"
        )
    }

    fn by_code(&mut self, infos: &[&Finding]) -> fmt::Result {
        let mut codes: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
        for finding in infos {
            codes.entry(finding.code.id).or_default().push(finding);
        }
        for findings in codes.values() {
            let Some(first) = findings.first() else { continue };
            let shown = if self.layout.all { findings.len() } else { findings.len().min(INFOS) };
            let style = level_style(first.level);
            let title = match findings.len() {
                1 => first.code.title.to_owned(),
                count => format!("{} ({count} times)", first.code.title),
            };
            let head = format!("{style}{}[{}]{style:#}: ", first.level, first.code.id);
            self.prose(&head, first.code.id.len() + 8, 2, &title)?;
            for finding in &findings[..shown] {
                let name = named(finding);
                let head = format!("  {STRONG}{name}{STRONG:#}: ");
                self.prose(&head, name.chars().count() + 4, 4, &finding.message)?;
                match self.report.sources.position(finding) {
                    Some((source, position)) => self.place(finding, source, position, 4)?,
                    None if !finding.field.is_empty() => {
                        writeln!(self.out, "    {QUIET}at{QUIET:#} {}", finding.field)?;
                    }
                    None => {}
                }
            }
            if shown < findings.len() {
                write!(self.out, "  ")?;
                self.more(findings.len() - shown, first.code.id)?;
            }
            self.explain(first.code, 2)?;
            writeln!(self.out)?;
        }
        Ok(())
    }

    fn place(&mut self, finding: &Finding, source: &Source, at: Position, indent: usize) -> fmt::Result {
        let Position { line, column, .. } = at;
        write!(self.out, "{:indent$}{QUIET}-->{QUIET:#} {}:{line}:{column}", "", source.name)?;
        if !finding.field.is_empty() {
            write!(self.out, " {QUIET}{}{QUIET:#}", finding.field)?;
        }
        writeln!(self.out)
    }

    fn excerpt(&mut self, finding: &Finding, source: &Source, position: Position) -> fmt::Result {
        let number = position.line.to_string();
        let most = self.layout.width.map_or(LINE, |width| width.saturating_sub(number.len() + 8).clamp(20, LINE));
        let Some(Excerpt { line, caret, length }) = excerpt(finding, source, position, most) else { return Ok(()) };
        let style = level_style(finding.level);
        writeln!(self.out, "    {QUIET}{number} |{QUIET:#} {line}")?;
        let margin = " ".repeat(number.len());
        writeln!(self.out, "    {QUIET}{margin} |{QUIET:#} {:caret$}{style}{}{style:#}", "", "^".repeat(length))
    }

    fn explain(&mut self, code: &'static Code, indent: usize) -> fmt::Result {
        if !self.explained.insert(code.id) {
            return Ok(());
        }
        let margin = " ".repeat(indent);
        self.prose(&format!("{margin}{HELP}why:{HELP:#}  "), indent + 6, indent + 6, code.why)?;
        self.prose(&format!("{margin}{HELP}help:{HELP:#} "), indent + 6, indent + 6, code.remedy)
    }

    /// Prints a line that begins with `head`, `used` columns wide; the rest is wrapped and indented.
    fn prose(&mut self, head: &str, used: usize, indent: usize, text: &str) -> fmt::Result {
        writeln!(self.out, "{head}{}", prose::fold(text, used, indent, self.layout.width))
    }

    fn summary(&mut self) -> fmt::Result {
        let report = self.report;
        let mut found = String::new();
        for level in [Level::Error, Level::Warning, Level::Info] {
            if report.count(level) > 0 {
                let style = level_style(level);
                let separator = if found.is_empty() { "" } else { ", " };
                write!(found, "{separator}{style}{}{style:#}", counted(report, level))?;
            }
        }
        if found.is_empty() {
            write!(found, "{HELP}No findings{HELP:#}")?;
        }
        let files = report.sources.len();
        let files = if files > 0 { format!(" from {}", plural(files, "file")) } else { String::new() };
        let accepted =
            if report.suppressed == 0 { String::new() } else { format!(", {} suppressed", report.suppressed) };
        let mut text = format!("{found} in {}{files}{accepted}.", plural(report.objects, "object"));
        if !report.findings.is_empty() {
            let hint = "`sailhand analyze --explain CODE` shows an example and its fix.";
            write!(text, " {QUIET}{hint}{QUIET:#}")?;
        }
        writeln!(self.out, "{}", prose::fold(&text, 0, 0, self.layout.width))
    }
}

fn named(finding: &Finding) -> String {
    let cluster = &finding.object.cluster;
    let object = finding.object.to_string();
    // A missing name has a finding of its own.
    let object = if finding.object.name.is_empty() { format!("{object}(no name)") } else { object };
    match &finding.build {
        Some(build) => format!("{object} (kustomization {build})"),
        None if cluster.is_empty() => object,
        None => format!("{object} (cluster {cluster})"),
    }
}

/// A line of a file with the place of a finding in it.
pub(super) struct Excerpt {
    /// The line, or the part around the place.
    pub line: String,
    /// Columns before the caret.
    pub caret: usize,
    /// Number of carets.
    pub length: usize,
}

/// The line of a finding, at most `most` characters of it. `None` without a line, and for a Secret, whose content must not
/// be shown.
pub(super) fn excerpt(finding: &Finding, source: &Source, position: Position, most: usize) -> Option<Excerpt> {
    let Position { line, column, length } = position;
    let text = line_of(source, finding, line);
    if text.is_empty() || finding.object.kind == crate::Kind::Secret {
        return None;
    }
    let skip = if column + length.min(most / 2) > most { column.saturating_sub(most / 2) } else { 0 };
    let cut = if skip > 0 { "…" } else { "" };
    let shown: String = text.chars().skip(skip).take(most).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let caret = (column - 1).saturating_sub(skip) + cut.chars().count();
    let length = length.clamp(1, 60.min(most.saturating_sub(caret).max(1)));
    Some(Excerpt { line: format!("{cut}{}", shown.trim_end()), caret, length })
}

/// Text of a line, counted from the start of the finding's document instead of the file.
fn line_of<'a>(source: &'a Source, finding: &Finding, line: usize) -> &'a str {
    let Some(origin) = finding.origin else { return "" };
    let document = usize::try_from(origin.start).ok().and_then(|start| source.text.get(start..)).unwrap_or_default();
    let skip = line.saturating_sub(usize::try_from(origin.line).unwrap_or(1));
    document.lines().nth(skip).unwrap_or_default()
}

fn level_style(level: Level) -> Style {
    match level {
        Level::Error => AnsiColor::Red.on_default().bold(),
        Level::Warning => AnsiColor::Yellow.on_default().bold(),
        Level::Info => AnsiColor::Cyan.on_default().bold(),
    }
}
