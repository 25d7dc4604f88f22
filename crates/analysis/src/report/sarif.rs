//! Formats findings as SARIF 2.1.0, for code scanning on GitHub, GitLab and others.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Report;
use crate::{Code, Finding, Level};

/// Builds the document.
#[must_use]
pub fn document(report: &Report<'_>) -> Value {
    let mut codes: Vec<&'static Code> = report.findings.iter().map(|finding| finding.code).collect();
    codes.sort_by_key(|code| code.id);
    codes.dedup();
    let numbers: BTreeMap<&str, usize> = codes.iter().zip(0..).map(|(code, number)| (code.id, number)).collect();
    let results: Vec<Value> = report
        .findings
        .iter()
        .map(|finding| result(report, finding, numbers.get(finding.code.id).copied().unwrap_or_default()))
        .collect();
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "sailhand",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": codes.iter().map(|code| rule(code)).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn rule(code: &Code) -> Value {
    json!({
        "id": code.id,
        "name": code.name,
        "shortDescription": {"text": code.title},
        "fullDescription": {"text": code.why},
        "help": {"text": code.remedy},
        "helpUri": code.url(),
        "defaultConfiguration": {"level": level(code.level)},
    })
}

fn result(report: &Report<'_>, finding: &Finding, number: usize) -> Value {
    let mut location = json!({
        "logicalLocations": [{"fullyQualifiedName": finding.object.to_string(), "kind": "resource"}],
    });
    if let Some((source, position)) = report.sources.position(finding) {
        location["physicalLocation"] = json!({
            "artifactLocation": {"uri": uri(&source.name)},
            "region": {"startLine": position.line, "startColumn": position.column},
        });
    }
    json!({
        "ruleId": finding.code.id,
        "ruleIndex": number,
        "level": level(finding.level),
        "message": {"text": format!("{}: {}", finding.object, finding.message)},
        "locations": [location],
        "partialFingerprints": {"sailhand/v1": finding.fingerprint},
    })
}

const fn level(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Info => "note",
    }
}

/// Converts a path to a relative URI reference and percent-encodes what a URI must not contain.
fn uri(path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path).replace('\\', "/");
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => uri.push(char::from(byte)),
            _ => uri = uri + "%" + &format!("{byte:02X}"),
        }
    }
    uri
}
