//! Formats findings as JSON.

use serde::Serialize;

use super::Report;
use crate::{Finding, source::Sources};

/// A finding in the output of `sailhand analyze --output json`. Fields may be added but are never renamed or removed.
#[derive(Debug, Serialize)]
pub struct JsonFinding<'a> {
    /// Code, such as `IST0128`.
    pub code: &'static str,
    /// Identifier of the code, such as `ReferencedResourceNotFound`.
    pub name: &'static str,
    /// `error`, `warning` or `info`.
    pub severity: &'static str,
    /// `Kind namespace/name`, or `Kind name`.
    pub resource: String,
    /// API group; empty for the core group.
    pub group: &'a str,
    /// Kind.
    pub kind: &'a str,
    /// Namespace; empty if the object has none.
    pub namespace: &'a str,
    /// Name.
    pub object: &'a str,
    /// Cluster; absent if there is only one, or none.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub cluster: &'a str,
    /// Folder of the kustomization that the object was built by; absent if none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kustomization: Option<&'a str>,
    /// Path of the field; empty for the whole object.
    pub field: &'a str,
    /// File; absent for objects of a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<&'a str>,
    /// Line in the file, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Column in the line, from 1, characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// What is wrong, in one sentence.
    pub message: &'a str,
    /// Arguments of the message, in the order of Istio's message template.
    pub arguments: &'a [String],
    /// Why it matters.
    pub explanation: &'static str,
    /// What to do.
    pub remedy: &'static str,
    /// Documentation URL.
    pub url: String,
    /// Identifies the finding across runs.
    pub fingerprint: &'a str,
    /// Other objects involved, in the form of `resource`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<String>,
}

/// Converts one finding.
#[must_use]
pub fn finding<'a>(finding: &'a Finding, sources: &'a Sources) -> JsonFinding<'a> {
    let place = sources.position(finding);
    JsonFinding {
        code: finding.code.id,
        name: finding.code.name,
        severity: finding.level.as_str(),
        resource: finding.object.to_string(),
        group: finding.object.group(),
        kind: finding.object.kind_name(),
        namespace: &finding.object.namespace,
        object: &finding.object.name,
        cluster: &finding.object.cluster,
        kustomization: finding.build.as_deref(),
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

/// Converts all findings.
#[must_use]
pub fn findings<'a>(report: &Report<'a>) -> Vec<JsonFinding<'a>> {
    report.findings.iter().map(|one| finding(one, report.sources)).collect()
}
