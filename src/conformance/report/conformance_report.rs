//! A `ConformanceReport` in the shape of Gateway API. It says that it comes from this program: upstream accepts reports
//! of its own suite only.

use std::fmt::Write as _;

use super::super::model::{CaseResult, Level, RunReport, Status};

/// The report as YAML; none for a suite other than `gateway-api-mesh`.
#[must_use]
pub fn render(report: &RunReport) -> Option<String> {
    if report.run.suite.name != "gateway-api-mesh" {
        return None;
    }
    let run = &report.run;
    let mut out = String::from("# Made by sailhand, not by the suite of Gateway API: not an official report.\n");
    out += "apiVersion: gateway.networking.k8s.io/v1\nkind: ConformanceReport\n";
    let date = run.finished_at.as_ref().unwrap_or(&run.started_at);
    let _ = writeln!(out, "date: {}\ngatewayAPIVersion: {}", text(date), text(&run.suite.version));
    out += "gatewayAPIChannel: standard\nmode: sailhand-builtin\nimplementation:\n";
    let _ = writeln!(out, "  organization: istio\n  project: {}\n  url: https://istio.io/", text(&run.mesh.name));
    let _ = writeln!(out, "  version: {}\n  contact: []\nprofiles:", text(&run.mesh.version));
    for spec in &report.specs {
        let of = |level: Level| {
            let cases =
                report.cases.iter().filter(move |case| case.spec == spec.spec && case.conformance_level == level);
            cases.collect::<Vec<_>>()
        };
        let _ = writeln!(out, "- name: {}", spec.title);
        let _ = writeln!(
            out,
            "  summary: {}",
            text(&format!("capability {}, compliance {}", spec.capability.as_str(), spec.compliance.as_str()))
        );
        part(&mut out, "core", &of(Level::Core));
        let extended = of(Level::Extended);
        if !extended.is_empty() {
            part(&mut out, "extended", &extended);
        }
    }
    Some(out)
}

fn part(out: &mut String, name: &str, cases: &[&CaseResult]) {
    let ids = |wanted: &[Status]| -> Vec<&str> {
        cases.iter().filter(|case| wanted.contains(&case.status)).map(|case| case.case_id.as_str()).collect()
    };
    let failed = ids(&[Status::Failed, Status::Error]);
    let skipped = ids(&[Status::Skipped, Status::NotSupported]);
    let passed = ids(&[Status::Passed]).len();
    let result = match (failed.is_empty(), skipped.is_empty()) {
        (false, _) => "failure",
        (true, false) => "partial",
        (true, true) => "success",
    };
    let _ = writeln!(out, "  {name}:\n    result: {result}\n    statistics:");
    let _ = writeln!(out, "      Passed: {passed}\n      Failed: {}\n      Skipped: {}", failed.len(), skipped.len());
    for (key, ids) in [("failedTests", failed), ("skippedTests", skipped)] {
        if !ids.is_empty() {
            let _ = writeln!(out, "    {key}:");
            for id in ids {
                let _ = writeln!(out, "    - {id}");
            }
        }
    }
}

/// A YAML string: JSON strings are YAML.
fn text(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}
