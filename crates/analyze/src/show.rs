//! Writes a report in the form asked for.

use clap::ValueEnum;

use sailhand_analysis::report::{self, Report};
use sailhand_analysis::{Finding, Level, Snapshot};

use crate::{Error, output};

/// How findings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// A list of findings
    Json,
    /// A list as `istioctl analyze -o json` writes it
    IstioctlJson,
    /// SARIF 2.1.0, for code hosts
    Sarif,
    /// JUnit XML, for build servers
    Junit,
    /// A table, for a comment on a change
    Markdown,
    /// One page to look at, with filters and a drawing
    Html,
}

/// Lowest level that makes the exit code 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Errors only
    Error,
    /// Warnings and errors
    Warning,
    /// Any finding
    Info,
    /// No finding
    Never,
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
) -> Result<(), Error> {
    let mut text = String::new();
    // Writing to a string does not fail.
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
            report::html::write(report, &graph, &mut text)
        }
    };
    let text = text.trim_end();
    if matches!(format, Format::Text) { output::line(text) } else { output::whole(text) }
}
