//! JUnit XML: a suite for each specification, a test for each case.

use std::fmt::Write as _;

use super::super::model::{RunReport, Status};
use crate::xml::escaped;

/// The report as JUnit XML.
#[must_use]
pub fn render(report: &RunReport) -> String {
    let counts = report.summary.counts;
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        out,
        "<testsuites name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\">",
        escaped(&report.run.suite.name),
        counts.total,
        counts.failed,
        counts.error,
        counts.skipped + counts.not_supported
    );
    for spec in &report.specs {
        let counts = spec.counts;
        let _ = writeln!(
            out,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\">",
            escaped(&spec.title),
            counts.total,
            counts.failed,
            counts.error,
            counts.skipped + counts.not_supported
        );
        for case in report.cases.iter().filter(|case| case.spec == spec.spec) {
            let tag = match case.status {
                Status::Passed => None,
                Status::Failed => Some("failure"),
                Status::Error => Some("error"),
                Status::Skipped | Status::NotSupported => Some("skipped"),
            };
            #[allow(clippy::cast_precision_loss, reason = "milliseconds of one case are far below 2^52")]
            let seconds = case.duration_ms as f64 / 1000.0;
            let _ = write!(
                out,
                "    <testcase classname=\"{}.{}\" name=\"{} {}\" time=\"{seconds:.3}\"",
                escaped(&spec.spec),
                escaped(&case.feature),
                escaped(&case.case_id),
                escaped(&case.title)
            );
            let _ = match tag {
                None => writeln!(out, "/>"),
                Some(tag) => writeln!(out, "><{tag} message=\"{}\"/></testcase>", escaped(&case.message)),
            };
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}
