//! Texts of the events that Meshery shows. Pure.
//!
//! `mesheryctl` takes the letters "error" in any event for a failure, and "mesh is now installed" in the details for the
//! end of an installation; Meshery's server takes "removed" in a summary for an undeployment.

use serde_json::Value;

use super::identity::Reference;
use super::operation;
use super::proto::{EventType, EventsResponse};
use crate::error::Problem;
use crate::event::{Outcome, ResultData, Retrying, Target};
use crate::prose::plural;

/// Longest field of an event and longest status, in bytes.
const MAX_FIELD: usize = 4096;
/// Findings of an analysis that become events of their own.
const MAX_FINDINGS: usize = 50;

fn event(kind: EventType, reference: &Reference, summary: &str, details: &str) -> EventsResponse {
    let text = |text: &str| if kind == EventType::Error { cut(text) } else { cut(&without_error(text)) };
    EventsResponse {
        event_type: kind.into(),
        summary: text(summary),
        details: text(details),
        operation_id: reference.operation_id.clone(),
        component: "adapter".to_owned(),
        component_name: "ISTIO".to_owned(),
        ..EventsResponse::default()
    }
}

/// A warning before the operation ends.
#[must_use]
pub fn warning(reference: &Reference, text: &str) -> EventsResponse {
    event(EventType::Warn, reference, text, "")
}

/// Warning that a stream has missed events. Results that no stream has sent follow.
#[must_use]
pub fn gap() -> EventsResponse {
    EventsResponse {
        event_type: EventType::Warn.into(),
        summary: "Events are missing in this stream, because it is read too slowly".to_owned(),
        details: "Results that no other stream has sent follow. `sailhand list` shows all commands.".to_owned(),
        component: "adapter".to_owned(),
        component_name: "ISTIO".to_owned(),
        ..EventsResponse::default()
    }
}

/// A failed attempt that is followed by another.
#[must_use]
pub fn retrying(reference: &Reference, retrying: &Retrying) -> EventsResponse {
    let summary = format!(
        "{} on {}: attempt {} follows in {} s",
        title(reference),
        reference.target,
        retrying.attempt + 1,
        retrying.delay_ms.div_ceil(1000)
    );
    event(EventType::Warn, reference, &summary, &retrying.problem.message)
}

/// The events of a result; the last one closes the command. `closes` says whether it also closes the operation, which
/// has other targets otherwise.
#[must_use]
pub fn result(reference: &Reference, result: &ResultData, closes: bool) -> Vec<EventsResponse> {
    let target = &reference.target;
    let title = title(reference);
    let problem = result.error.as_ref();
    let message = problem.map(|problem| problem.message.as_str()).unwrap_or_default();
    match result.outcome {
        Outcome::Succeeded => {
            let mut events = findings(reference, result);
            events.extend(report_warnings(reference, result));
            let (summary, details) = success(reference, result, closes);
            events.push(event(EventType::Info, reference, &summary, &details));
            events
        }
        Outcome::Failed | Outcome::Rejected => {
            let doing = if reference.delete { "removing" } else { "applying" };
            let summary = format!("Error while {doing} {title} on {target}");
            vec![failure(event(EventType::Error, reference, &summary, message), problem)]
        }
        Outcome::Cancelled | Outcome::Expired | Outcome::Superseded => {
            let outcome = result.outcome.as_str();
            vec![event(EventType::Warn, reference, &format!("{title} was {outcome} on {target}"), message)]
        }
    }
}

/// The closing event of an operation on several targets.
#[must_use]
pub fn closing(reference: &Reference, outcomes: &[(Target, bool)]) -> EventsResponse {
    let failed = outcomes.iter().filter(|(_, succeeded)| !succeeded).count();
    let lines: Vec<String> = outcomes
        .iter()
        .map(|(target, succeeded)| format!("{target}: {}", if *succeeded { "succeeded" } else { "failed" }))
        .collect();
    let lines = lines.join("\n");
    let title = title(reference);
    if failed > 0 {
        let summary = format!("Error: {title} failed on {failed} of {} clusters", outcomes.len());
        return event(EventType::Error, reference, &summary, &lines);
    }
    let verb = if reference.delete { "removed from" } else { "completed on" };
    let phrase = if installs(reference) { "The Istio service mesh is now installed\n" } else { "" };
    let summary = format!("{title} {verb} {} clusters", outcomes.len());
    event(EventType::Info, reference, &summary, &format!("{phrase}{lines}"))
}

fn installs(reference: &Reference) -> bool {
    reference.key == "istio" && !reference.delete
}

fn title(reference: &Reference) -> &str {
    operation::find(&reference.key).map_or(reference.key.as_str(), |operation| operation.title)
}

fn success(reference: &Reference, result: &ResultData, closes: bool) -> (String, String) {
    let Reference { target, key, namespace, .. } = reference;
    let report = result.report.as_ref().unwrap_or(&Value::Null);
    let title = title(reference);
    let changes = if result.changed { "" } else { " (no changes)" };
    let summary = match (key.as_str(), reference.delete) {
        ("istio", false) => {
            let version = report["version"].as_str().map(|version| format!(" {version}")).unwrap_or_default();
            format!("Istio service mesh{version} installed on {target}{changes}")
        }
        ("label-namespace", _) => format!("Label updated on {namespace} namespace on {target}{changes}"),
        ("istio-vet", _) => {
            let count = report["findings"].as_array().map_or(0, Vec::len);
            format!("Configuration analyzed on {target}: {}", plural(count, "finding"))
        }
        ("smi_conformance", _) => "Smi conformance test completed successfully".to_owned(),
        (_, true) => format!("{title} removed on {target}{changes}"),
        ("bookinfo" | "httpbin", _) => format!("{title} deployed in {namespace} on {target}{changes}"),
        ("custom", _) => {
            let count = report["objects"].as_array().map_or(0, Vec::len);
            format!("Manifest applied on {target}: {}{changes}", plural(count, "object"))
        }
        _ => match title.split_once(": ") {
            Some(("Add-on", name)) => format!("Addon {name} installed in istio-system on {target}{changes}"),
            Some(("Policy", name)) => format!("Policy applied in {namespace} on {target}: {name}{changes}"),
            _ => format!("{title} applied on {target}{changes}"),
        },
    };
    let details = match key.as_str() {
        "istio" if closes && installs(reference) => "The Istio service mesh is now installed".to_owned(),
        "istio" | "istio-vet" => String::new(),
        // The report in the form that Meshery's server stores.
        "smi_conformance" if report["legacy"].is_object() => report["legacy"].to_string(),
        _ => details(report),
    };
    (summary, details)
}

/// The effect, the address and the counts of a report, and its warnings.
fn details(report: &Value) -> String {
    let mut lines: Vec<String> = report["holds"].as_str().map(str::to_owned).into_iter().collect();
    let entry = &report["entry"];
    if let Some(reason) = entry["skipped"].as_str() {
        lines.push(format!("Not reached from outside: {reason}"));
    } else if let Some(port) = entry["port"].as_u64() {
        let hosts = texts(&entry["hosts"]).join(", ");
        let path = entry["path"].as_str().unwrap_or("/");
        lines.push(format!("Reached through the gateway: port {port}, path {path}, hosts {hosts}"));
    }
    if let Some(url) = report["url"].as_str() {
        lines.push(format!("Reached in the cluster at {url}"));
    }
    if let Some(objects) = report["objects"].as_array() {
        lines.push(plural(objects.len(), "object"));
    }
    lines.extend(texts(&report["warnings"]).into_iter().map(|warning| format!("Warning: {warning}")));
    lines.join("\n")
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// One event with all warnings of the report: of clients that a policy will deny, for example.
fn report_warnings(reference: &Reference, result: &ResultData) -> Option<EventsResponse> {
    let warnings = texts(&result.report.as_ref()?["warnings"]);
    // The summary has no text of a warning: Meshery's server takes "removed" in it for an undeployment.
    let summary = format!("{} on {}: {}", title(reference), reference.target, plural(warnings.len(), "warning"));
    (!warnings.is_empty()).then(|| event(EventType::Warn, reference, &summary, &warnings.join("\n")))
}

/// Findings of an analysis as warnings, whatever their severity: the operation itself succeeded.
fn findings(reference: &Reference, result: &ResultData) -> Vec<EventsResponse> {
    if reference.key != "istio-vet" {
        return Vec::new();
    }
    let findings = result.report.as_ref().and_then(|report| report["findings"].as_array());
    let findings = findings.into_iter().flatten().take(MAX_FINDINGS);
    findings
        .map(|finding| {
            let text = |field: &str| finding[field].as_str().unwrap_or_default();
            let kind = if text("severity") == "info" { EventType::Info } else { EventType::Warn };
            event(kind, reference, &format!("{}: {}", text("code"), text("message")), text("resource"))
        })
        .collect()
}

fn failure(event: EventsResponse, problem: Option<&Problem>) -> EventsResponse {
    let Some(problem) = problem else { return event };
    EventsResponse {
        error_code: problem.code.clone(),
        probable_cause: cut(&problem.causes.join(": ")),
        suggested_remediation: cut(&problem.remedy),
        ..event
    }
}

/// `mesheryctl` ends with a failure when it reads these letters, whatever the type of the event.
fn without_error(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(found) = lower[at..].find("error") {
        out.push_str(&text[at..at + found]);
        out.push_str("failure");
        at += found + "error".len();
    }
    out.push_str(&text[at..]);
    out
}

/// The beginning of a text, at most [`MAX_FIELD`] bytes.
pub(super) fn cut(text: &str) -> String {
    if text.len() <= MAX_FIELD {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(MAX_FIELD - '…'.len_utf8())])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reference(key: &str, delete: bool) -> Reference {
        Reference {
            operation_id: "op".to_owned(),
            target: "dev".parse().unwrap(),
            key: key.to_owned(),
            delete,
            namespace: "shop".to_owned(),
            targets: 1,
        }
    }

    fn ended(outcome: Outcome, report: Value) -> ResultData {
        let error = (outcome != Outcome::Succeeded).then(|| Problem {
            code: "SH3001".to_owned(),
            class: "terminal".to_owned(),
            message: "Error from server".to_owned(),
            causes: vec!["forbidden".to_owned()],
            remedy: "Grant it.".to_owned(),
        });
        ResultData {
            outcome,
            changed: true,
            report: Some(report),
            error,
            attempts: 1,
            earlier_attempts: Vec::new(),
            fence: 1,
            worker: "w".to_owned(),
            ended: String::new(),
        }
    }

    #[test]
    fn no_text_of_a_success_is_a_failure_to_the_command_line_of_meshery() {
        let finding = json!({"code": "SH7001", "message": "ERROR in an ErrorPolicy ü", "severity": "error"});
        let report = json!({"findings": [finding], "objects": [], "holds": "an error"});
        for operation in operation::OPERATIONS {
            for delete in [false, true] {
                let reference = reference(operation.key, delete);
                for event in result(&reference, &ended(Outcome::Succeeded, report.clone()), true) {
                    let texts = format!("{} {}", event.summary, event.details).to_lowercase();
                    assert!(!texts.contains("error"), "{texts}");
                    assert_eq!(event.operation_id, "op");
                    assert!(delete || !event.summary.contains("removed"), "{}", event.summary);
                }
            }
        }
    }

    #[test]
    fn closing_event_has_the_address_and_the_warnings_of_the_report() {
        let entry =
            json!({"api_version": "networking.istio.io/v1", "hosts": ["*"], "port": 80, "path": "/productpage"});
        let report = json!({"entry": entry, "objects": [{}, {}], "warnings": ["port 80 has no protocol", "an error"]});
        let events = result(&reference("bookinfo", false), &ended(Outcome::Succeeded, report), true);
        let kinds: Vec<_> = events.iter().map(EventsResponse::event_type).collect();
        assert_eq!(kinds, [EventType::Warn, EventType::Info]);
        assert_eq!(events[0].summary, "Istio Book Info Application on dev: 2 warnings");
        assert_eq!(
            events[1].details,
            "Reached through the gateway: port 80, path /productpage, hosts *\n2 objects\n\
             Warning: port 80 has no protocol\nWarning: an failure"
        );
        for (key, summary) in [
            ("prometheus-addon", "Addon Prometheus installed in istio-system on dev"),
            ("strict-mtls-policy-operation", "Policy applied in shop on dev: Strict MTLS"),
        ] {
            let events = result(&reference(key, false), &ended(Outcome::Succeeded, json!({})), true);
            assert_eq!(events[0].summary, summary);
        }
    }

    #[test]
    fn only_the_closing_event_of_an_installation_has_the_phrase() {
        const PHRASE: &str = "mesh is now installed";
        let last = |closes| {
            let events =
                result(&reference("istio", false), &ended(Outcome::Succeeded, json!({"version": "1.30.3"})), closes);
            assert!(events[0].summary.starts_with("Istio service mesh 1.30.3 installed"), "{events:?}");
            events[0].details.contains(PHRASE)
        };
        assert!(last(true) && !last(false));
        let outcomes = |second| [("a".parse().unwrap(), true), ("b".parse().unwrap(), second)];
        let done = closing(&reference("istio", false), &outcomes(true));
        assert!(done.details.contains(PHRASE) && done.event_type() == EventType::Info);
        let failed = closing(&reference("istio", false), &outcomes(false));
        assert!(!failed.details.contains(PHRASE) && failed.event_type() == EventType::Error);
    }

    #[test]
    fn failure_has_code_cause_and_remedy() {
        let events = result(&reference("bookinfo", true), &ended(Outcome::Failed, Value::Null), true);
        let [event] = &events[..] else { panic!("{events:?}") };
        assert_eq!(event.event_type(), EventType::Error);
        assert_eq!((event.error_code.as_str(), event.probable_cause.as_str()), ("SH3001", "forbidden"));
        assert!(event.summary.starts_with("Error while removing") && event.details == "Error from server");
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        assert!(cut(&"ü".repeat(5_000)).len() <= MAX_FIELD);
    }
}
