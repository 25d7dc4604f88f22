//! Formats findings as JUnit XML for CI test reports: a test case for each finding, in a suite for each namespace.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use sailhand_base::prose::plural;
use sailhand_base::xml::escaped;

use super::Report;
use crate::Finding;

/// Writes the document. Findings for which `fails` is true are failures; the others are output of passed cases.
///
/// # Errors
/// Errors of the writer.
pub fn write(report: &Report<'_>, fails: impl Fn(&Finding) -> bool, out: &mut impl fmt::Write) -> fmt::Result {
    let mut suites: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
    for finding in report.findings {
        suites.entry(&finding.object.namespace).or_default().push(finding);
    }
    let failures = report.findings.iter().filter(|finding| fails(finding)).count();
    let total = report.findings.len().max(1);
    writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
    writeln!(out, "<testsuites name=\"sailhand analyze\" tests=\"{total}\" failures=\"{failures}\">")?;
    if suites.is_empty() {
        writeln!(out, "  <testsuite name=\"analysis\" tests=\"1\" failures=\"0\">")?;
        writeln!(out, "    <testcase classname=\"analysis\" name=\"{}\"/>", plural(report.objects, "object"))?;
        writeln!(out, "  </testsuite>")?;
    }
    for (namespace, findings) in suites {
        let name = if namespace.is_empty() { "(no namespace)" } else { namespace };
        let failures = findings.iter().filter(|finding| fails(finding)).count();
        let head = format!("name=\"{}\" tests=\"{}\" failures=\"{failures}\"", escaped(name), findings.len());
        writeln!(out, "  <testsuite {head}>")?;
        for finding in findings {
            case(report, finding, fails(finding), out)?;
        }
        writeln!(out, "  </testsuite>")?;
    }
    writeln!(out, "</testsuites>")
}

fn case(report: &Report<'_>, finding: &Finding, fails: bool, out: &mut impl fmt::Write) -> fmt::Result {
    let mut text = format!("{}\n{}", finding.message, finding.code.remedy);
    if let Some((source, position)) = report.sources.position(finding) {
        write!(text, "\n{}:{}", source.name, position.line)?;
    }
    let object = finding.object.to_string();
    writeln!(out, "    <testcase classname=\"{}\" name=\"{}\">", finding.code.id, escaped(&object))?;
    if fails {
        let (kind, message) = (finding.level, escaped(&finding.message));
        writeln!(out, "      <failure type=\"{kind}\" message=\"{message}\">{}</failure>", escaped(&text))?;
    } else {
        writeln!(out, "      <system-out>{}: {}</system-out>", finding.level, escaped(&text))?;
    }
    writeln!(out, "    </testcase>")
}
