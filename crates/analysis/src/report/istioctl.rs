//! Formats findings as `istioctl analyze -o json` does. Source: istio `pkg/config/analysis/diag/message.go`.

use serde::Serialize;

use super::Report;
use crate::{Finding, Level};

/// A message of istioctl.
#[allow(clippy::struct_field_names, reason = "istioctl's field names")]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Message<'a> {
    code: &'static str,
    documentation_url: String,
    level: &'static str,
    message: &'a str,
    origin: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    cluster: &'a str,
}

/// Converts all findings.
#[must_use]
pub fn messages<'a>(report: &Report<'a>) -> Vec<Message<'a>> {
    report.findings.iter().map(|finding| message(report, finding)).collect()
}

fn message<'a>(report: &Report<'a>, finding: &'a Finding) -> Message<'a> {
    let place = report.sources.position(finding);
    Message {
        code: finding.code.id,
        documentation_url: finding.code.url(),
        level: match finding.level {
            Level::Error => "Error",
            Level::Warning => "Warning",
            Level::Info => "Info",
        },
        message: &finding.message,
        origin: finding.object.to_string(),
        reference: place.map(|(source, position)| format!("{}:{}", source.name, position.line)),
        cluster: &finding.object.cluster,
    }
}
