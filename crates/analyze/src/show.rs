//! Writes a report in the requested format.

use clap::ValueEnum;

use sailhand_analysis::report::{self, Report};
use sailhand_analysis::{Finding, Level, Snapshot};

use crate::{Error, output};

/// Output format of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for a terminal
    #[value(alias = "log")]
    Text,
    /// JSON array of findings
    Json,
    /// JSON in the format of `istioctl analyze -o json`
    IstioctlJson,
    /// SARIF 2.1.0, for code scanning (GitHub, GitLab)
    Sarif,
    /// JUnit XML, for CI test reports
    Junit,
    /// Markdown table, for comments on pull requests
    Markdown,
    /// Self-contained HTML report with filters and a dependency graph
    Html,
}

/// Lowest level for which the exit code is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Errors only
    Error,
    /// Warnings and errors
    #[value(alias = "warn")]
    Warning,
    /// Any finding
    Info,
    /// No finding
    Never,
}

/// Lowest level of findings that are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Threshold {
    /// Errors only
    Error,
    /// Warnings and errors
    #[value(alias = "warn")]
    Warning,
    /// All findings
    Info,
}

impl Threshold {
    /// Whether a finding is reported.
    #[must_use]
    pub fn is_reached(self, finding: &Finding) -> bool {
        match self {
            Self::Error => finding.level >= Level::Error,
            Self::Warning => finding.level >= Level::Warning,
            Self::Info => true,
        }
    }
}

impl FailOn {
    /// Whether a finding makes the exit code 1.
    #[must_use]
    pub fn is_reached(self, finding: &Finding) -> bool {
        match self {
            Self::Error => finding.level >= Level::Error,
            Self::Warning => finding.level >= Level::Warning,
            Self::Info => true,
            Self::Never => false,
        }
    }
}

pub(crate) fn show(
    format: Format,
    fail_on: FailOn,
    all: bool,
    report: &Report<'_>,
    snapshot: &Snapshot,
    about: &report::html::About,
) -> Result<(), Error> {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = match format {
        Format::Json => return output::json(&report::json::findings(report)),
        Format::IstioctlJson => return output::json(&report::istioctl::messages(report)),
        Format::Sarif => return output::json(&report::sarif::document(report)),
        Format::Text => {
            let layout = report::text::Layout { width: output::width(), all };
            report::text::write(report, layout, &mut text)
        }
        Format::Junit => report::junit::write(report, |finding| fail_on.is_reached(finding), &mut text),
        Format::Markdown => report::markdown::write(report, &mut text),
        Format::Html => {
            let graph = report::graph::Graph::new(report.findings, snapshot);
            report::html::write(report, &graph, about, &mut text)
        }
    };
    let text = text.trim_end();
    if matches!(format, Format::Text) { output::line(text) } else { output::whole(text) }
}
