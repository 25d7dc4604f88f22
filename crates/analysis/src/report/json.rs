//! Findings as JSON.

use serde::Serialize;

use super::Report;
use crate::{Finding, source::Sources};

/// A finding as programs read it: `sailhand analyze --output json`. Fields are added, never renamed.
#[derive(Debug, Serialize)]
pub struct JsonFinding<'a> {
    /// Such as `IST0128`.
    pub code: &'static str,
    /// The code in one word.
    pub name: &'static str,
    /// `error`, `warning` or `info`.
    pub severity: &'static str,
    /// `Kind namespace/name`, or `Kind name`.
    pub resource: String,
    /// Its API group; empty for the core group.
    pub group: &'static str,
    /// Its kind.
    pub kind: &'static str,
    /// Its namespace; empty where it has none.
    pub namespace: &'a str,
    /// Its name.
    pub object: &'a str,
    /// Its cluster, where there are several.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub cluster: &'a str,
    /// The field, or empty.
    pub field: &'a str,
    /// The file it was read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<&'a str>,
    /// The line there, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The column there, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// One sentence.
    pub message: &'a str,
    /// What the message was made from.
    pub arguments: &'a [String],
    /// What the code means.
    pub explanation: &'static str,
    /// What to do.
    pub remedy: &'static str,
    /// A page that explains it.
    pub url: String,
    /// The same for the same finding in another run.
    pub fingerprint: &'a str,
    /// Other objects that have to do with it, as `resource`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<String>,
}

/// One finding.
#[must_use]
pub fn finding<'a>(finding: &'a Finding, sources: &'a Sources) -> JsonFinding<'a> {
    let place = sources.position(finding);
    JsonFinding {
        code: finding.code.id,
        name: finding.code.name,
        severity: finding.level.as_str(),
        resource: finding.object.to_string(),
        group: finding.object.kind.group(),
        kind: finding.object.kind.name(),
        namespace: &finding.object.namespace,
        object: &finding.object.name,
        cluster: &finding.object.cluster,
        field: &finding.field,
        file: place.map(|(source, _)| source.name.as_str()),
        line: place.map(|(_, position)| position.line),
        column: place.map(|(_, position)| position.column),
        message: &finding.message,
        arguments: &finding.arguments,
        explanation: finding.code.why,
        remedy: finding.code.remedy,
        url: finding.code.url(),
        fingerprint: &finding.fingerprint,
        related: finding.related.iter().map(ToString::to_string).collect(),
    }
}

/// All findings, as a list.
#[must_use]
pub fn findings<'a>(report: &Report<'a>) -> Vec<JsonFinding<'a>> {
    report.findings.iter().map(|one| finding(one, report.sources)).collect()
}
